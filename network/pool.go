package network

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// refillRetry is the pause after a slot could not be made ahead.
const refillRetry = time.Second

// ErrClosed is returned by Acquire after Close.
var ErrClosed = errors.New("network: closed")

// Acquire returns a slot: one made ahead if there is one, else one that it
// makes. The caller must release it.
func (n *Network) Acquire(ctx context.Context) (*Slot, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	select {
	case <-n.stop:
		return nil, ErrClosed
	default:
	}
	select {
	case s := <-n.pool:
		n.wantSpare()
		return s, nil
	default:
	}
	n.addUrgent(1)
	defer n.addUrgent(-1)
	return n.add()
}

// Release destroys a slot that Acquire returned. The sandbox in it should have
// ended. It must be called for each slot, unless Close is. The work is done in
// the background; Release waits only where far too much of it has piled up.
func (n *Network) Release(s *Slot) {
	n.mu.Lock()
	again := s.released
	s.released = true
	n.mu.Unlock()
	if again {
		return
	}
	select {
	case <-n.stop: // Close destroys what is left
	case n.removals <- s:
	}
}

// add makes a slot and counts it among the network's.
func (n *Network) add() (*Slot, error) {
	n.mu.Lock()
	if n.closed {
		n.mu.Unlock()
		return nil, ErrClosed
	}
	index, err := n.indexes.take()
	// Close waits for what is being made.
	n.tasks.Add(1)
	n.mu.Unlock()
	defer n.tasks.Done()
	if err != nil {
		return nil, fmt.Errorf("network slot: %w", err)
	}
	s, err := n.makeSlot(index)
	if err != nil {
		n.mu.Lock()
		defer n.mu.Unlock()
		n.indexes.give(index)
		return nil, err
	}
	return s, nil
}

func (n *Network) addUrgent(k int) {
	n.mu.Lock()
	n.urgent += k
	waiting := n.urgent
	n.mu.Unlock()
	if waiting == 0 {
		n.wantSpare()
	}
}

// wantSpare wakes refill.
func (n *Network) wantSpare() {
	select {
	case n.spare <- struct{}{}:
	default:
	}
}

// refill keeps the pool full, one slot at a time, and stands back while a
// caller waits for a slot of its own: the kernel makes them one by one anyway.
func (n *Network) refill() {
	defer n.tasks.Done()
	for {
		select {
		case <-n.stop:
			return
		case <-n.spare:
		}
		for len(n.pool) < cap(n.pool) && !n.standBack() {
			s, err := n.add()
			if err == nil {
				n.pool <- s // never blocks: nothing else fills the pool
				continue
			}
			if errors.Is(err, ErrClosed) {
				return
			}
			if errors.Is(err, errNoAddress) {
				break // until a slot has been removed
			}
			n.config.Log.Warn("cannot make a network slot ahead", "error", err)
			select {
			case <-n.stop:
				return
			case <-time.After(refillRetry):
			}
		}
	}
}

func (n *Network) standBack() bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.urgent > 0 || n.closed
}
