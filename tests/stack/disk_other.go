//go:build !linux

package stack

import "errors"

func mountSmall(string) error { return errors.New("mount a disk: only known of Linux") }

func unmount(string) error { return nil }
