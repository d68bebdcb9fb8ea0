# Waits until all of docker-compose.yml answers, then says where to go. Its shell is BusyBox.
set -eu

wait_for() { # wait_for <name> <url>
	tries=0
	until wget -q -T 2 -O /dev/null "$2" 2>/dev/null; do
		tries=$((tries + 1))
		if [ $tries -ge 60 ]; then
			echo "$1 does not answer at $2: see \"docker compose ps\" and \"docker compose logs $1\"" >&2
			exit 1
		fi
		sleep 1
	done
}

wait_for nats http://nats:8222/healthz
wait_for nginx http://nginx:8080/v1/ticks/BTC-USD # a price has come all the way
wait_for jaeger http://jaeger:16686/
wait_for grafana http://grafana:3000/api/health
wait_for prometheus http://prometheus:9090/-/ready

server= flag=
if wget -q -O - http://nats:8222/varz | grep -q '"auth_required": true'; then
	server="--server nats://tickfan:tickfan@localhost:4222 " flag="--nats nats://tickfan:tickfan@nats:4222 "
fi
cat <<END
page        http://localhost:8080
publish     nats ${server}pub ingest.BTC-USD '{"price":"64123.51"}'
            docker compose run --rm tickctl pub ${flag}BTC-USD 64123.51
Jaeger      http://localhost:16686
Grafana     http://localhost:3000
Prometheus  http://localhost:9095
NATS        http://localhost:8222
END
