# The server in a small image: built in one stage, run in another without a compiler, a shell's need or root.
#
#   docker build -t serverv2 .
#
# Bases are arguments, for whoever takes them from a registry of their own.
ARG BUILD_BASE=rust:1-slim-bookworm
ARG RUNTIME_BASE=debian:bookworm-slim
# What has the program at /out/bin: the stage below, or an image in which it was put there otherwise.
ARG PROGRAM=build

FROM ${BUILD_BASE} AS build
WORKDIR /build
# Dependencies first, with nothing of ours but the manifests: this layer is built again only when they change.
COPY Cargo.toml Cargo.lock ./
COPY raft/Cargo.toml raft/
COPY raft/machine/Cargo.toml raft/machine/
COPY raft/sim/Cargo.toml raft/sim/
COPY storage/Cargo.toml storage/
COPY chaos/Cargo.toml chaos/
RUN for crate in . raft raft/machine raft/sim storage chaos; do mkdir -p $crate/src && touch $crate/src/lib.rs; done \
 && echo 'fn main() {}' | tee src/main.rs > chaos/src/main.rs \
 && cargo build --locked --release --bin serverv2 \
 && rm -rf src raft storage chaos
COPY . .
# Newer than what stood in their place.
RUN find src raft storage -name '*.rs' -exec touch {} + \
 && cargo build --locked --release --bin serverv2 \
 && install -D -s target/release/serverv2 /out/bin/serverv2 \
 && mkdir -p /out/data

FROM ${PROGRAM} AS program

FROM ${RUNTIME_BASE}
COPY --from=program /out/bin/serverv2 /usr/local/bin/serverv2
COPY --from=program --chown=10001:10001 /out/data /data
USER 10001:10001
WORKDIR /data
VOLUME /data
ENV DATA_DIR=/data BIND_HOST=0.0.0.0
# Players; other nodes.
EXPOSE 8102 18102
# What /ready says: not while it waits for other nodes, nor when it drains.
HEALTHCHECK --interval=2s --timeout=3s --start-period=30s --retries=3 CMD ["serverv2", "ready", "--timeout", "2"]
ENTRYPOINT ["serverv2"]
CMD ["run"]
