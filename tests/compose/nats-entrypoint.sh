#!/bin/sh
# As the image of nats has it: flags alone are nats-server's.
set -e
case "${1:-}" in
-*) set -- nats-server "$@" ;;
esac
exec "$@"
