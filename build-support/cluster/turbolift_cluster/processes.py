# Copyright 2026 The turbolift authors.
# SPDX-License-Identifier: Apache-2.0
"""What runs on a node: each program's command line, configuration files and the address that says that it is ready."""

from __future__ import annotations

import sys
from dataclasses import asdict, dataclass, field
from pathlib import Path

from .binaries import SOURCES, Programs
from .debian import libraries
from .files import write, write_json
from .settings import Cluster, Node

_ETCD = "http://127.0.0.1:2379"
OURSELVES = [sys.executable, "-S", "-E", str(SOURCES / "cluster")]
CONTAINERD = "/run/containerd/containerd.sock"


@dataclass(frozen=True)
class Process:
    """One program of a node. It is started once `after` answer, and is ready when `ready` (a URL or a socket's path) does."""

    name: str
    argv: list[str]
    ready: str
    after: list[str] = field(default_factory=list)
    libraries: str = ""

    def document(self) -> dict[str, object]:
        """Return it as JSON, for the node's first process."""
        return asdict(self)


def of_node(cluster: Cluster, node: Node, programs: Programs, root: Path, pause: str) -> list[Process]:
    """Write the configuration of a node's programs and return them in order. `root` has Debian's packages, `pause` is an image."""
    api = f"{cluster.server}/version"
    processes = _control_plane(cluster, programs, root) if node.control else []
    processes.append(_containerd(cluster, node, root, pause))
    processes.append(_kubelet(cluster, node, programs, root, api))
    processes.append(_proxy(cluster, node, programs, root, api))
    processes.append(_enforcer(cluster, node, root, api))
    return processes


def _control_plane(cluster: Cluster, programs: Programs, root: Path) -> list[Process]:
    pki, kubeconfigs, state = cluster.state / "pki", cluster.state / "kubeconfigs", cluster.state
    peer = "http://127.0.0.1:2380"
    etcd = [
        str(programs.path("etcd")),
        "--name=default",
        f"--data-dir={state}/etcd",
        f"--listen-client-urls={_ETCD}",
        f"--advertise-client-urls={_ETCD}",
        f"--listen-peer-urls={peer}",
        f"--initial-advertise-peer-urls={peer}",
        f"--initial-cluster=default={peer}",
        "--unsafe-no-fsync",  # a test's data need not outlive the machine
        "--log-level=warn",
    ]
    apiserver = [
        str(programs.path("kube-apiserver")),
        f"--etcd-servers={_ETCD}",
        "--bind-address=0.0.0.0",
        "--secure-port=6443",
        f"--advertise-address={cluster.control.address}",
        f"--tls-cert-file={pki}/apiserver.crt",
        f"--tls-private-key-file={pki}/apiserver.key",
        f"--client-ca-file={pki}/ca.crt",
        f"--token-auth-file={pki}/tokens.csv",
        "--authorization-mode=Node,RBAC",
        "--enable-admission-plugins=NodeRestriction",
        "--allow-privileged=true",
        "--service-account-issuer=https://kubernetes.default.svc",
        f"--service-account-key-file={pki}/service-account.pub",
        f"--service-account-signing-key-file={pki}/service-account.key",
        f"--service-cluster-ip-range={cluster.services}",
        "--kubelet-preferred-address-types=InternalIP",
        f"--kubelet-certificate-authority={pki}/ca.crt",
        f"--kubelet-client-certificate={pki}/apiserver-kubelet.crt",
        f"--kubelet-client-key={pki}/apiserver-kubelet.key",
        f"--requestheader-client-ca-file={pki}/ca.crt",
        "--requestheader-allowed-names=front-proxy-client",
        "--requestheader-username-headers=X-Remote-User",
        "--requestheader-group-headers=X-Remote-Group",
        "--requestheader-extra-headers-prefix=X-Remote-Extra-",
        "--enable-aggregator-routing=true",
        f"--proxy-client-cert-file={pki}/front-proxy.crt",
        f"--proxy-client-key-file={pki}/front-proxy.key",
        # A node that is gone loses its pods after seconds, not after the usual five minutes.
        "--default-not-ready-toleration-seconds=10",
        "--default-unreachable-toleration-seconds=10",
        "--shutdown-delay-duration=0s",
        "--v=1",
    ]
    manager = [
        str(programs.path("kube-controller-manager")),
        f"--kubeconfig={kubeconfigs}/kube-controller-manager.json",
        f"--service-account-private-key-file={pki}/service-account.key",
        f"--root-ca-file={pki}/ca.crt",
        "--use-service-account-credentials=true",
        "--leader-elect=false",
        "--allocate-node-cidrs=false",
        f"--cluster-cidr={cluster.pods}",
        f"--service-cluster-ip-range={cluster.services}",
        "--bind-address=127.0.0.1",
        "--secure-port=10257",
        "--node-monitor-period=2s",
        "--node-monitor-grace-period=20s",
        "--horizontal-pod-autoscaler-sync-period=5s",
        "--horizontal-pod-autoscaler-initial-readiness-delay=5s",
        "--horizontal-pod-autoscaler-cpu-initialization-period=15s",
        "--v=1",
    ]
    scheduler = [
        str(programs.path("kube-scheduler")),
        f"--kubeconfig={kubeconfigs}/kube-scheduler.json",
        "--leader-elect=false",
        "--bind-address=127.0.0.1",
        "--secure-port=10259",
        "--v=1",
    ]
    write(
        state / "registry.yml",
        "version: 0.1\nlog: {level: warn, accesslog: {disabled: true}}\n"
        f"storage: {{filesystem: {{rootdirectory: {state}/registry}}, delete: {{enabled: true}}}}\n"
        f"http: {{addr: {cluster.registry}, secret: {cluster.name}}}\n",
    )
    answers = "https://127.0.0.1:6443/version"
    return [
        Process(
            "registry",
            [f"{root}/usr/bin/docker-registry", "serve", f"{state}/registry.yml"],
            f"http://{cluster.registry}/v2/",
        ),
        Process("etcd", etcd, f"{_ETCD}/health"),
        Process("kube-apiserver", apiserver, "https://127.0.0.1:6443/readyz", after=[f"{_ETCD}/health"]),
        # They start as soon as the API server answers at all: their start overlaps with the rest of its own.
        Process("kube-controller-manager", manager, "https://127.0.0.1:10257/healthz", after=[answers]),
        Process("kube-scheduler", scheduler, "https://127.0.0.1:10259/healthz", after=[answers]),
    ]


def _containerd(cluster: Cluster, node: Node, root: Path, pause: str) -> Process:
    folder = node.folder / "containerd"
    # overlayfs cannot have its upper layer on an overlay, which the root of a container is.
    snapshotter = "native" if _filesystem(cluster.state) == "overlay" else "overlayfs"
    write(
        folder / "config.toml",
        f"""version = 2
root = "/var/lib/containerd"
state = "/run/containerd"
oom_score = 0
disabled_plugins = [{", ".join(f'"io.containerd.{name}"' for name in _UNUSED_PLUGINS)}]
[grpc]
  address = "{CONTAINERD}"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "{pause}"
  tolerate_missing_hugetlb_controller = true
  restrict_oom_score_adj = true
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "{root}/usr/lib/cni"
    conf_dir = "{folder}/cni"
  [plugins."io.containerd.grpc.v1.cri".registry]
    config_path = "{folder}/registries"
  [plugins."io.containerd.grpc.v1.cri".containerd]
    snapshotter = "{snapshotter}"
    default_runtime_name = "runc"
    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
      runtime_type = "io.containerd.runc.v2"
      [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
        BinaryName = "{root}/usr/sbin/runc"
        SystemdCgroup = false
""",
    )
    address = f"http://{cluster.registry}"
    write(
        folder / "registries" / cluster.registry / "hosts.toml",
        f'server = "{address}"\n[host."{address}"]\n  capabilities = ["pull", "resolve"]\n',
    )
    ipam = {
        "type": "host-local",
        "dataDir": "/run/cni-ipam",
        "ranges": [[{"subnet": node.pods}]],
        "routes": [{"dst": "0.0.0.0/0"}],
    }
    bridge = {
        "type": "bridge",
        "bridge": "cni0",
        "isGateway": True,
        "ipMasq": False,
        "hairpinMode": True,
        "ipam": ipam,
    }
    plugins = [bridge, {"type": "portmap", "capabilities": {"portMappings": True}}]
    write_json(folder / "cni/10-bridge.conflist", {"cniVersion": "0.4.0", "name": "pods", "plugins": plugins})
    argv = [f"{root}/usr/bin/containerd", "--config", f"{folder}/config.toml"]
    return Process("containerd", argv, CONTAINERD, libraries=libraries(root))


_UNUSED_PLUGINS = (
    *(f"snapshotter.v1.{name}" for name in ("aufs", "btrfs", "devmapper", "zfs")),
    "internal.v1.tracing",
    "tracing.processor.v1.otlp",
)


def _kubelet(cluster: Cluster, node: Node, programs: Programs, root: Path, api: str) -> Process:
    pki, config = cluster.state / "pki", node.folder / "kubelet.json"
    resolver = node.folder / "resolv.conf"
    write(
        resolver, "nameserver 127.0.0.1\noptions timeout:1 attempts:1\n"
    )  # nothing here resolves names of the world
    write_json(
        config,
        {
            "apiVersion": "kubelet.config.k8s.io/v1beta1",
            "kind": "KubeletConfiguration",
            "authentication": {
                "anonymous": {"enabled": False},
                "webhook": {"enabled": True},
                "x509": {"clientCAFile": f"{pki}/ca.crt"},
            },
            "authorization": {"mode": "Webhook"},
            "tlsCertFile": f"{pki}/{node.name}.crt",
            "tlsPrivateKeyFile": f"{pki}/{node.name}.key",
            "containerRuntimeEndpoint": f"unix://{CONTAINERD}",
            "cgroupDriver": "cgroupfs",
            "cgroupRoot": f"/{cluster.prefix}/{node.name}",
            "enforceNodeAllocatable": [],
            "clusterDNS": [cluster.dns],
            "clusterDomain": "cluster.local",
            "resolvConf": str(resolver),
            "failSwapOn": False,
            "failCgroupV1": False,
            "protectKernelDefaults": False,
            "readOnlyPort": 0,
            "healthzPort": 10248,
            "serializeImagePulls": False,
            "imageGCHighThresholdPercent": 100,
            "imageGCLowThresholdPercent": 99,
            "nodeStatusUpdateFrequency": "1s",
            "nodeStatusReportFrequency": "1m",
            "evictionHard": {
                "memory.available": "50Mi",
                "nodefs.available": "0%",
                "nodefs.inodesFree": "0%",
                "imagefs.available": "0%",
                "imagefs.inodesFree": "0%",
            },
            "syncFrequency": "10s",
        },
    )
    argv = [
        str(programs.path("kubelet")),
        f"--config={config}",
        f"--kubeconfig={cluster.state}/kubeconfigs/kubelet-{node.name}.json",
        f"--hostname-override={node.name}",
        f"--node-ip={node.address}",
        "--root-dir=/var/lib/kubelet",
        "--v=1",
    ]
    return Process(
        "kubelet", argv, "http://127.0.0.1:10248/healthz", after=[CONTAINERD, api], libraries=libraries(root)
    )


def _proxy(cluster: Cluster, node: Node, programs: Programs, root: Path, api: str) -> Process:
    config = node.folder / "kube-proxy.json"
    write_json(
        config,
        {
            "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
            "kind": "KubeProxyConfiguration",
            "mode": "iptables",
            "clusterCIDR": cluster.pods,
            "hostnameOverride": node.name,
            "bindAddress": node.address,
            "healthzBindAddress": "127.0.0.1:10256",
            "metricsBindAddress": "127.0.0.1:10249",
            "clientConnection": {"kubeconfig": f"{cluster.state}/kubeconfigs/kube-proxy.json"},
            "iptables": {"minSyncPeriod": "0s", "syncPeriod": "10s", "localhostNodePorts": False},
            # The sizes of the table of connections belong to the whole machine: leave them as they are.
            "conntrack": {
                "maxPerCore": 0,
                "min": 0,
                "tcpEstablishedTimeout": "0s",
                "tcpCloseWaitTimeout": "0s",
            },
        },
    )
    argv = [str(programs.path("kube-proxy")), f"--config={config}", "--v=1"]
    return Process("kube-proxy", argv, "http://127.0.0.1:10256/livez", after=[api], libraries=libraries(root))


def _enforcer(cluster: Cluster, node: Node, root: Path, api: str) -> Process:
    ready = node.folder / "network-policy.ready"
    kubeconfig = cluster.state / "kubeconfigs/network-policy.json"
    argv = [*OURSELVES, "_enforce", node.name, str(kubeconfig), str(ready)]
    return Process("network-policy", argv, f"file:{ready}", after=[api], libraries=libraries(root))


def _filesystem(path: Path) -> str:
    """Return the type of the file system that holds a folder."""
    best, kind = "", ""
    for line in Path("/proc/self/mounts").read_text().splitlines():
        _, where, fstype, *_ = line.split()
        if (f"{path}/".startswith(where.rstrip("/") + "/")) and len(where) >= len(best):
            best, kind = where, fstype
    return kind
