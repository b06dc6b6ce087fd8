// Copyright 2026 The turbolift authors.
// SPDX-License-Identifier: Apache-2.0

// metrics-server, which cannot be built from its module's own go.mod beside Kubernetes' packages of the version that we pin.
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
