package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
)

// cold makes new environments of the subjects in turn, in an order that is new
// in every round.
func cold(ctx context.Context, n int, subjects []*subject) error {
	turn := slices.Clone(subjects)
	for round := range n {
		rand.Shuffle(len(turn), func(i, j int) { turn[i], turn[j] = turn[j], turn[i] })
		for _, s := range turn {
			if round >= s.samples(n) {
				continue
			}
			c, err := s.coldStart(ctx)
			if err != nil {
				if err := s.failed(ctx, fmt.Errorf("cold start: %w", err)); err != nil {
					return err
				}
				continue
			}
			s.cold = append(s.cold, c)
		}
	}
	return nil
}
