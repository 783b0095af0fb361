# docker build -t jobcast .
# docker run -p 3000:3000 -v jobcast:/data jobcast     the first start prints a key

# SQLite is C, so the build wants a C compiler, and both stages the same C library: that of
# Debian 12, which is bookworm.
FROM golang:1.26-bookworm AS build
WORKDIR /src
COPY . .
RUN mkdir -p /out && CGO_ENABLED=1 go build -buildvcs=false -ldflags="-s -w" -o /out/jobcast . && \
    mkdir -m 0700 /out/data

FROM debian:bookworm-slim
# The slim image knows no certificate authority, and https of an http action wants some.
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/ca-certificates.crt
COPY --from=build /out/jobcast /usr/local/bin/jobcast
COPY --from=build --chown=65532:65532 /out/data /data
ENV JOBCAST_DATA=/data
USER 65532:65532
VOLUME /data
EXPOSE 3000
# Where the server listens elsewhere (JOBCAST_ADDR, PORT), JOBCAST_URL says so to this too.
HEALTHCHECK --interval=10s --timeout=6s --start-period=30s CMD ["/usr/local/bin/jobcast", "health"]
# A stop lets running jobs go on for 25 s (--shutdown-grace): docker stop -t 30.
ENTRYPOINT ["/usr/local/bin/jobcast"]
CMD ["serve"]
