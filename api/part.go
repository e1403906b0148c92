package api

import "google.golang.org/grpc"

// MaxPart is about how large a message is made that can be split, in bytes: no
// slow line takes long over one, and the largest item fits behind it.
const MaxPart = 256 << 10

// FirstPart is how many of a list's first items go into one message: as many as
// fit in MaxPart, and one in any case.
func FirstPart[T any](list []T) int {
	size := 0
	for n, item := range list {
		raw, err := Encode(item)
		if err != nil {
			return max(n, 1) // whoever sends it is told
		}
		if size += len(raw); size > MaxPart && n > 0 {
			return n
		}
	}
	return len(list)
}

// Split cuts a list before what does not go into its first message.
func Split[T any](list []T) (part, rest []T) {
	n := FirstPart(list)
	return list[:n:n], list[n:]
}

// Brief is what is needed of the spec of a task that has ended, or that is only
// listed: which image it was made of and how it is stopped. The rest may be
// large, and there may be many such tasks.
func (s TaskSpec) Brief() TaskSpec {
	c := s.ContainerSpec
	return TaskSpec{
		ContainerSpec: ContainerSpec{Image: c.Image, Hostname: c.Hostname, StopSignal: c.StopSignal, StopGracePeriod: c.StopGracePeriod},
		RestartPolicy: s.RestartPolicy, Networks: s.Networks,
	}
}

// Brief is the task with its spec in brief.
func (t *Task) Brief() *Task {
	next := *t
	next.Spec = t.Spec.Brief()
	return &next
}

// wholeProgress puts parts together.
type wholeProgress struct {
	grpc.ServerStreamingClient[ServiceProgress]
}

func (s wholeProgress) Recv() (*ServiceProgress, error) {
	var tasks []*Task
	for {
		p, err := s.ServerStreamingClient.Recv()
		if err != nil {
			return nil, err
		}
		tasks = append(tasks, p.Tasks...)
		if !p.More {
			p.Tasks = tasks
			return p, nil
		}
	}
}
