#!/bin/sh
# Starts Prometheus with a configuration from environment variables, because platforms like Tsuru
# cannot pass files. It uses POSIX sh only, because the only shell of the stock image is busybox.
#
#   PROMETHEUS_CONFIG           content of prometheus.yml. Required
#   PROMETHEUS_WEB_CONFIG       content of the file for --web.config.file, which configures basic
#                               auth. Required: without it the web interface would be public
#   PROMETHEUS_RULES            content of rules.yml, which the configuration refers to as rules.yml
#   PROMETHEUS_EXTERNAL_URL     public URL
#   PROMETHEUS_ROUTE_PREFIX     path of the web interface, if it differs from that of the URL
#   PROMETHEUS_RETENTION_TIME   retention time of samples, as in 15d
#   PROMETHEUS_RETENTION_SIZE   maximum size of samples, as in 512MB
#   PROMETHEUS_STORAGE_PATH     directory for samples. Default: /prometheus
#   PROMETHEUS_FEATURES         value of --enable-feature
#   PROMETHEUS_MEMORY_LIMIT     memory limit of the Go runtime (GOMEMLIMIT), as in 256MiB
#   PROMETHEUS_QUERY_MAX_CONCURRENCY, PROMETHEUS_QUERY_MAX_SAMPLES
#                               limits of queries. Default: those of Prometheus
#   PORT                        port to listen on. Default: 8888, as on Tsuru
set -eu
umask 077

fail() {
    echo "entrypoint: $1" >&2
    exit 64
}

[ -n "${PROMETHEUS_CONFIG:-}" ] || fail "PROMETHEUS_CONFIG is missing: it holds prometheus.yml"
[ -n "${PROMETHEUS_WEB_CONFIG:-}" ] || fail "PROMETHEUS_WEB_CONFIG is missing: it contains the users of the web interface"
port=${PORT:-8888}
case $port in
*[!0-9]*) fail "PORT is no number" ;;
esac
storage=${PROMETHEUS_STORAGE_PATH:-/prometheus}
if ! mkdir -p "$storage" || ! [ -w "$storage" ]; then
    fail "$storage cannot be written to; PROMETHEUS_STORAGE_PATH names another folder"
fi

# The image may run as any user, so only the directory for temporary files is surely writable.
folder=$(mktemp -d) || fail "there is no folder for temporary files"
printf '%s\n' "$PROMETHEUS_CONFIG" >"$folder/prometheus.yml"
printf '%s\n' "$PROMETHEUS_WEB_CONFIG" >"$folder/web.yml"
[ -z "${PROMETHEUS_RULES:-}" ] || printf '%s\n' "$PROMETHEUS_RULES" >"$folder/rules.yml"

set -- \
    "--config.file=$folder/prometheus.yml" \
    "--web.config.file=$folder/web.yml" \
    "--web.listen-address=0.0.0.0:$port" \
    "--storage.tsdb.path=$storage" \
    "$@"
[ -z "${PROMETHEUS_EXTERNAL_URL:-}" ] || set -- "$@" "--web.external-url=$PROMETHEUS_EXTERNAL_URL"
[ -z "${PROMETHEUS_ROUTE_PREFIX:-}" ] || set -- "$@" "--web.route-prefix=$PROMETHEUS_ROUTE_PREFIX"
[ -z "${PROMETHEUS_RETENTION_TIME:-}" ] || set -- "$@" "--storage.tsdb.retention.time=$PROMETHEUS_RETENTION_TIME"
[ -z "${PROMETHEUS_RETENTION_SIZE:-}" ] || set -- "$@" "--storage.tsdb.retention.size=$PROMETHEUS_RETENTION_SIZE"
[ -z "${PROMETHEUS_FEATURES:-}" ] || set -- "$@" "--enable-feature=$PROMETHEUS_FEATURES"
[ -z "${PROMETHEUS_QUERY_MAX_CONCURRENCY:-}" ] || set -- "$@" "--query.max-concurrency=$PROMETHEUS_QUERY_MAX_CONCURRENCY"
[ -z "${PROMETHEUS_QUERY_MAX_SAMPLES:-}" ] || set -- "$@" "--query.max-samples=$PROMETHEUS_QUERY_MAX_SAMPLES"
if [ -n "${PROMETHEUS_MEMORY_LIMIT:-}" ]; then
    export GOMEMLIMIT="$PROMETHEUS_MEMORY_LIMIT"
fi

# The environment of the process must not contain the secrets a second time.
unset PROMETHEUS_CONFIG PROMETHEUS_WEB_CONFIG PROMETHEUS_RULES
# `exec` replaces the shell, so that Prometheus receives the platform's signals.
exec prometheus "$@"
