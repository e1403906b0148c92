package main

import "math/rand/v2"

// Words of made-up names: what the boards live among.
var (
	moods = []string{"brave", "bright", "calm", "clever", "cosy", "dusty", "eager", "early", "fair", "gentle", "glad", "humble", "jolly", "keen", "kind", "late", "lively", "lucky", "merry", "mild", "neat", "nimble", "patient", "plain", "proud", "quick", "quiet", "sharp", "shy", "silent", "sly", "steady", "sturdy", "sunny", "swift", "tidy", "tiny", "warm", "wild", "wise"}
	birds = []string{"avocet", "bunting", "crane", "crow", "cuckoo", "curlew", "dipper", "dove", "dunlin", "egret", "finch", "gannet", "goose", "grebe", "gull", "harrier", "hawk", "heron", "hoopoe", "jay", "kestrel", "kite", "lark", "linnet", "magpie", "martin", "merlin", "osprey", "owl", "petrel", "pipit", "plover", "raven", "robin", "rook", "shrike", "siskin", "snipe", "starling", "stork", "swallow", "swan", "swift", "tern", "thrush", "wagtail", "warbler", "wren"}
)

// randomName makes a name for a service that was given none.
func randomName() string { return moods[rand.N(len(moods))] + "-" + birds[rand.N(len(birds))] }
