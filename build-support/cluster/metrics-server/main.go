// Copyright 2026 The turbolift authors.
// SPDX-License-Identifier: Apache-2.0

// metrics-server, by a program of ours, so that its module is pinned by a go.sum here.
package main

import (
	"os"

	"k8s.io/apiserver/pkg/server"
	"k8s.io/component-base/cli"

	"sigs.k8s.io/metrics-server/cmd/metrics-server/app"
)

func main() {
	os.Exit(cli.Run(app.NewMetricsServerCommand(server.SetupSignalHandler())))
}
