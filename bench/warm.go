package main

import (
	"context"
	"math/rand/v2"
	"slices"
	"time"
)

const (
	// batch is how many invocations one candidate gets before it is the next
	// one's turn: few enough that a noisy second hits all alike.
	batch = 25
	// pause is between two batches: what the one before leaves to be done
	// afterwards, such as freezing, is not measured with the next.
	pause = 20 * time.Millisecond
	// warmUp is how many invocations of each are not counted.
	warmUp = 50
)

// warm invokes the subjects in turn, in an order that is new in every round.
func warm(ctx context.Context, n int, subjects []*subject) error {
	for _, s := range subjects {
		for range min(warmUp, s.samples(n)) {
			if _, err := s.invoke(ctx); err != nil {
				if err := s.failed(ctx, err); err != nil {
					return err
				}
			}
		}
	}
	turn := slices.Clone(subjects)
	for left := true; left; {
		left = false
		rand.Shuffle(len(turn), func(i, j int) { turn[i], turn[j] = turn[j], turn[i] })
		for _, s := range turn {
			size := min(batch, s.samples(n)-len(s.warm))
			if size <= 0 {
				continue
			}
			left = true
			if err := s.invokeBatch(ctx, size); err != nil {
				return err
			}
		}
	}
	return nil
}

func (s *subject) invokeBatch(ctx context.Context, size int) error {
	if err := sleep(ctx, pause); err != nil {
		return err
	}
	for i := range size {
		d, err := s.invoke(ctx)
		if err != nil {
			if err := s.failed(ctx, err); err != nil {
				return err
			}
			continue
		}
		s.warm = append(s.warm, d)
		if i == 0 {
			s.rested = append(s.rested, d)
		}
	}
	return nil
}

func sleep(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
