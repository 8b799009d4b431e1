# The node, and nothing else but the roots that rediss:// needs: no shell, no package manager, no root.
#
#   docker build -t hubfleet-node --build-arg VERSION="$(git describe --tags --always)" --build-arg REVISION="$(git rev-parse HEAD)" .
#
# GO_IMAGE can be pinned (--build-arg GO_IMAGE=golang@sha256:…) or come from a mirror. Its Go must be what go.mod asks for.
ARG GO_IMAGE=docker.io/library/golang:1.26-bookworm

FROM --platform=$BUILDPLATFORM ${GO_IMAGE} AS build
WORKDIR /src
# A layer of its own: it changes only with the dependencies.
COPY go.mod go.sum ./
RUN go mod download
COPY . .
# No defaults: they would win over what BuildKit says. Where nobody says it, Go builds for the machine it runs on.
ARG TARGETOS TARGETARCH
ARG VERSION=unknown REVISION=unknown
RUN GOOS=${TARGETOS:-linux} GOARCH=${TARGETARCH:-$(go env GOARCH)} VERSION=$VERSION REVISION=$REVISION scripts/build /out/node

FROM scratch
ARG VERSION=unknown REVISION=unknown
LABEL org.opencontainers.image.title="hubfleet-node" \
      org.opencontainers.image.description="Real-time hubs that every SignalR client can talk to, on a cluster of stateless nodes" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="$VERSION" \
      org.opencontainers.image.revision="$REVISION"
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/
COPY --from=build /out/node /node
# By number: Kubernetes cannot tell from a name that it is not root.
USER 65532:65532
# Clients, the operator (on loopback unless told otherwise), other nodes.
EXPOSE 8080 9090 8081
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=5s --start-period=30s CMD ["/node", "healthcheck"]
ENTRYPOINT ["/node"]
