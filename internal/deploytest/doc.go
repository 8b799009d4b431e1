// Package deploytest holds what is deployed to the binary and to itself: image, Compose, Kubernetes manifests, nginx, Prometheus
// and Grafana. It is a module of its own, so that who uses the library does not inherit the types of Kubernetes. It holds nothing
// but the tests.
package deploytest
