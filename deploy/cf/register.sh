#!/bin/sh
# Registers Scrapebroker in Cloud Foundry: creates or updates the service broker, and
# enables access to its services. Run it again after an upgrade, and after changes of
# the password or the catalog.
#
#   cf login -a https://api.sys.example.com      # as an admin
#   export BROKER_USERNAME=… BROKER_PASSWORD=…   # broker.username and broker.password
#   deploy/cf/register.sh https://scrapebroker.example.com
#
# BROKER_PASSWORD_FILE can be set to a file instead. Requires version 8 of the cf CLI.
set -eu

usage() {
    cat >&2 <<TEXT
usage: $0 [-n NAME] [-o ORGANIZATION]... URL

  URL              base_url of Scrapebroker, or that with /broker
  -n NAME          name of the service broker (scrapebroker)
  -o ORGANIZATION  enable access for this organization only; may be repeated

The environment has BROKER_USERNAME, and BROKER_PASSWORD or BROKER_PASSWORD_FILE.
TEXT
    exit 64
}

fail() {
    echo "$0: $1" >&2
    exit "${2:-1}"
}

name=scrapebroker
# One per line, because names of organizations may contain spaces.
organizations=
while getopts n:o: option; do
    case $option in
    n) name=$OPTARG ;;
    o) organizations="$organizations$OPTARG
" ;;
    *) usage ;;
    esac
done
shift $((OPTIND - 1))
if [ $# -ne 1 ] || [ -z "$1" ]; then usage; fi
case $name in
'' | *[!A-Za-z0-9._-]*) fail "the name of the broker may have letters, digits, '.', '_' and '-'" 64 ;;
esac

url=${1%/}
url=${url%/broker}/broker
case $url in
https://?*) ;;
http://?*) echo "$0: warning: the password crosses the network in plain text" >&2 ;;
*) fail "the URL must begin with https://" 64 ;;
esac

username=${BROKER_USERNAME:-}
password=${BROKER_PASSWORD:-}
if [ -z "$password" ] && [ -n "${BROKER_PASSWORD_FILE:-}" ]; then
    password=$(cat "$BROKER_PASSWORD_FILE")
fi
[ -n "$username" ] || fail "BROKER_USERNAME is not set" 64
[ -n "$password" ] || fail "neither BROKER_PASSWORD nor BROKER_PASSWORD_FILE is set" 64

command -v cf >/dev/null || fail "the cf CLI is not installed" 69

# The output is stored in a variable first, so that the script ends if cf fails.
brokers=$(cf service-brokers) || fail "the service brokers cannot be listed; are you logged in as an admin?"
if printf '%s\n' "$brokers" | awk -v name="$name" '$1 == name { found = 1 } END { exit !found }'; then
    action=update-service-broker
else
    action=create-service-broker
fi
# The password is passed in the environment, because all users of this machine can read
# command lines.
CF_BROKER_PASSWORD=$password cf "$action" "$name" "$username" "$url"

# Only services of this broker, because other brokers may have services with the same name.
access=$(cf service-access -b "$name")
services=$(printf '%s\n' "$access" | awk '
    table && NF { print $1 }
    ($1 == "offering" || $1 == "service") && $2 == "plan" { table = 1 }
' | sort -u)
[ -n "$services" ] || fail "the broker $name offers no services; is its catalog empty?"

for service in $services; do
    if [ -z "$organizations" ]; then
        cf enable-service-access "$service" -b "$name"
    else
        printf '%s' "$organizations" | while IFS= read -r organization; do
            # cf must not consume the list of organizations.
            cf enable-service-access "$service" -b "$name" -o "$organization" </dev/null
        done
    fi
done
