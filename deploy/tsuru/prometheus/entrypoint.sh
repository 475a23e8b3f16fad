#!/bin/sh
# Starts Prometheus from variables of the environment, since a platform like Tsuru hands over nothing
# else. Plain POSIX sh: the stock image has no other shell than busybox.
#
#   PROMETHEUS_CONFIG           prometheus.yml, whole. Required
#   PROMETHEUS_WEB_CONFIG       the file for --web.config.file, whole: whom the web interface lets in.
#                               Required, since without it everybody would be let in
#   PROMETHEUS_RULES            rules.yml, whole; the configuration names it as rules.yml
#   PROMETHEUS_EXTERNAL_URL     how users reach it
#   PROMETHEUS_ROUTE_PREFIX     path of the web interface, when it is another than that of the URL
#   PROMETHEUS_RETENTION_TIME   how long samples are kept, as in 15d
#   PROMETHEUS_RETENTION_SIZE   most bytes of samples, as in 512MB
#   PROMETHEUS_STORAGE_PATH     where samples are kept; /prometheus when not set
#   PROMETHEUS_FEATURES         for --enable-feature
#   PROMETHEUS_MEMORY_LIMIT     what the garbage collector aims at, as in 256MiB
#   PROMETHEUS_QUERY_MAX_CONCURRENCY, PROMETHEUS_QUERY_MAX_SAMPLES
#                               limits of queries; Prometheus' defaults when not set
#   PORT                        where it listens; 8888, as on Tsuru, when not set
set -eu
umask 077

fail() {
    echo "entrypoint: $1" >&2
    exit 64
}

[ -n "${PROMETHEUS_CONFIG:-}" ] || fail "PROMETHEUS_CONFIG is missing: it holds prometheus.yml"
[ -n "${PROMETHEUS_WEB_CONFIG:-}" ] || fail "PROMETHEUS_WEB_CONFIG is missing: it says whom the web interface lets in"
port=${PORT:-8888}
case $port in
*[!0-9]*) fail "PORT is no number" ;;
esac
storage=${PROMETHEUS_STORAGE_PATH:-/prometheus}
if ! mkdir -p "$storage" || ! [ -w "$storage" ]; then
    fail "$storage cannot be written to; PROMETHEUS_STORAGE_PATH names another folder"
fi

# The user may be any, so only the folder for temporary files is certain to be writable.
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

# Users who can list processes must not see a second copy of the secrets.
unset PROMETHEUS_CONFIG PROMETHEUS_WEB_CONFIG PROMETHEUS_RULES
# In place of this shell, so that it gets the platform's signals.
exec prometheus "$@"
