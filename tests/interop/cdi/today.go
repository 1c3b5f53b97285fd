// SPDX-License-Identifier: Apache-2.0

//go:build !older

package main

import "tags.cncf.io/container-device-interface/pkg/cdi"

func open(folder string) (library, error) {
	return cdi.NewCache(cdi.WithSpecDirs(folder), cdi.WithAutoRefresh(false))
}
