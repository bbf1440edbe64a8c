package netem

import (
	"errors"
	"fmt"
	"math"
	"time"
)

// A Delay is a distribution of times, none of them negative. The zero value is no time at all.
type Delay struct {
	kind kind
	a, b float64 // nanoseconds, but for the shape of Pareto
}

type kind uint8

const (
	constant kind = iota
	uniform
	normalKind
	exponential
	pareto
)

// maxDelay is what is the most that a distribution without an end gives: a day.
const maxDelay = 24 * time.Hour

// Constant is always d.
func Constant(d time.Duration) Delay { return Delay{constant, float64(d), 0} }

// Uniform is between least and most, each time as likely as another.
func Uniform(least, most time.Duration) Delay {
	return Delay{uniform, float64(least), float64(most)}
}

// Normal is the normal distribution with that mean and standard deviation. What would be negative is 0.
func Normal(mean, deviation time.Duration) Delay {
	return Delay{normalKind, float64(mean), float64(deviation)}
}

// Exponential is the exponential distribution with that mean.
func Exponential(mean time.Duration) Delay { return Delay{exponential, float64(mean), 0} }

// Pareto is the Pareto distribution: least is the least, and the smaller shape, the heavier the tail. At 1 and below
// it has no mean.
func Pareto(least time.Duration, shape float64) Delay { return Delay{pareto, float64(least), shape} }

// String tells the distribution as Go has it.
func (d Delay) String() string {
	a, b := time.Duration(d.a), time.Duration(d.b)
	switch d.kind {
	case uniform:
		return fmt.Sprintf("Uniform(%v, %v)", a, b)
	case normalKind:
		return fmt.Sprintf("Normal(%v, %v)", a, b)
	case exponential:
		return fmt.Sprintf("Exponential(%v)", a)
	case pareto:
		return fmt.Sprintf("Pareto(%v, %v)", a, d.b)
	}
	return fmt.Sprintf("Constant(%v)", a)
}

// at returns the time below which the share u of the times is.
func (d Delay) at(u float64) time.Duration {
	x := d.a
	switch d.kind {
	case uniform:
		x += u * (d.b - d.a)
	case normalKind:
		x += d.b * gauss(u)
	case exponential:
		x *= -math.Log1p(-u)
	case pareto:
		x *= math.Pow(1-u, -1/d.b)
	}
	return time.Duration(min(max(x, 0), max(float64(maxDelay), d.a)))
}

// check tells what is wrong with the distribution.
func (d Delay) check() error {
	switch {
	case d.a < 0:
		return fmt.Errorf("%v: negative time", d)
	case d.kind == uniform && d.b < d.a:
		return fmt.Errorf("%v: the most is less than the least", d)
	case d.kind == normalKind && d.b < 0:
		return fmt.Errorf("%v: negative deviation", d)
	case d.kind == pareto && !(d.b > 0):
		return errors.New(d.String() + ": the shape must be positive")
	}
	return nil
}
