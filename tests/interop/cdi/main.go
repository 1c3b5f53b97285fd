// SPDX-License-Identifier: Apache-2.0

// The Container Device Interface's own library reads our specs as a container runtime does. It is
// built twice: with the library of today (go.mod), and with the one that containerd 1.7 began with
// (older.mod and -tags older).
//
//	cdi FOLDER [NAME...]
//
// prints, as JSON, the devices found in the folder and an OCI spec with the named ones injected.
// What a runtime would refuse, or only warn of, ends it with 1.
package main

import (
	"encoding/json"
	"fmt"
	"os"

	oci "github.com/opencontainers/runtime-spec/specs-go"
)

type library interface {
	GetErrors() map[string][]error
	ListDevices() []string
	InjectDevices(*oci.Spec, ...string) ([]string, error)
}

type report struct {
	Devices []string  `json:"devices"`
	Spec    *oci.Spec `json:"spec"`
}

func load(folder string, names []string) (*report, error) {
	cache, err := open(folder)
	if err != nil {
		return nil, err
	}
	for file, problems := range cache.GetErrors() {
		return nil, fmt.Errorf("%s: %v", file, problems)
	}
	found := &report{Devices: cache.ListDevices(), Spec: &oci.Spec{Version: oci.Version}}
	if unresolved, err := cache.InjectDevices(found.Spec, names...); err != nil {
		return nil, fmt.Errorf("%w (unresolved: %v)", err, unresolved)
	}
	return found, nil
}

func main() {
	found, err := load(os.Args[1], os.Args[2:])
	if err == nil {
		err = json.NewEncoder(os.Stdout).Encode(found)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "cdi:", err)
		os.Exit(1)
	}
}
