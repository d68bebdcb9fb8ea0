#!/usr/bin/env bash
# Puts images into a Docker Engine under the names that docker-compose.yml and the Dockerfile ask for, made of real
# programs that are at hand without an image registry: nats-server from its module, nginx and Prometheus from Debian's
# packages, Go from the installed toolchain with the modules that the services need. The shell is BusyBox.
#
#	standins.sh <DOCKER_HOST> <folder>
#
# The engine must be one for tests alone: its images then are not what their names say. The folder keeps
# what is made, and "overrides" in it lists the files that docker compose needs besides. NGINX names a nginx of 1.27.3 or
# newer; without it Debian's source is built where it is new enough, else Debian's nginx taken, which cannot follow an
# upstream's changing addresses: a copy of the configuration without "resolve" goes with it.
set -euo pipefail
export DOCKER_HOST=$1
here=tests/compose
mkdir -p "$2"
work=$(cd "$2" && pwd)
cd "$(dirname "$0")/../.."

# name of an image as docker-compose.yml or the Dockerfile has it, with its version
pinned() { sed -nE "s,^(FROM .*|.*image:) ($1:[^ ]+).*,\\2,p" docker-compose.yml deploy/docker/Dockerfile | head -1; }

# a Debian package, unpacked into $work/debian/<name>
package() {
	local dir=$work/debian/$1
	if [[ ! -d $dir ]]; then
		mkdir -p "$work/debs" "$work/debian"
		if ! (cd "$work/debs" && rm -f "$1"_*.deb && apt-get download "$1") >"$work/log" 2>&1; then
			cat "$work/log" >&2
			exit 1
		fi
		rm -rf "$dir.part"
		dpkg -x "$work/debs/$1"_*.deb "$dir.part"
		mv "$dir.part" "$dir"
	fi
}

# an empty root with a shell and wget, as Alpine has
root() {
	rm -rf "$work/root"
	mkdir -p "$work/root"/{bin,etc/ssl/certs,tmp,usr/bin,usr/sbin,root}
	chmod 1777 "$work/root/tmp"
	echo 'root:x:0:0:root:/root:/bin/sh' >"$work/root/etc/passwd"
	program "$work/debian/busybox/bin/busybox" /bin/busybox
	for c in sh cat grep sleep mkdir; do ln -s busybox "$work/root/bin/$c"; done
	program "$(command -v wget)" /bin/wget # Debian's BusyBox crashes when it looks up a name
	cp -L /etc/ssl/certs/ca-certificates.crt "$work/root/etc/ssl/certs/"
}

# program <file> <place>: with the libraries that it is linked with
program() {
	install -D -m 755 "$1" "$work/root$2"
	local lib
	{ ldd "$1" 2>/dev/null || true; } | grep -oE '/[^ ]+' | while read -r lib; do
		install -D -m 755 "$lib" "$work/root$lib"
	done
}

# image <name> <docker import's changes...>
image() {
	local name=$1 changes=()
	shift
	for c in "$@"; do changes+=(--change "$c"); done
	tar -C "$work/root" --owner 0 --group 0 -c . | docker import "${changes[@]}" - "$name" >/dev/null
	echo "stand-in: $name"
}

newer() { [[ $(printf '%s\n' "$2" "$1" | sort -V | head -1) == "$2" ]]; } # newer <version> <than or the same as>
nginx_version() { "$1" -v 2>&1 | grep -oE '[0-9]+\.[0-9.]+'; }

# Debian's newest source of nginx, built into $work/nginx, if it is new enough and can be had.
build_nginx() {
	local apt=$work/apt version mirror
	mkdir -p "$apt"/{lists/partial,cache/archives/partial,source}
	mirror=$(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' | awk '/\/debian\/$/ { m = $0 } END { print m; exit !m }') || return 1 # this machine's own
	echo "deb-src [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $mirror testing main" >"$apt/sources.list"
	local get=(apt-get -q -o "Dir::Etc::SourceList=$apt/sources.list" -o Dir::Etc::SourceParts=/nonexistent
		-o "Dir::State::Lists=$apt/lists" -o "Dir::Cache=$apt/cache")
	(cd "$apt/source" && "${get[@]}" update && "${get[@]}" source --download-only nginx) >"$apt/log" 2>&1 || return 1
	tar -C "$apt/source" --strip-components 1 -xzf "$apt/source"/nginx_*.orig.tar.gz
	version=$(grep -oE 'NGINX_VERSION +"[0-9.]+' "$apt/source/src/core/nginx.h" | grep -oE '[0-9.]+$')
	newer "$version" 1.27.3 || return 1
	(cd "$apt/source" && ./configure --without-http_rewrite_module --without-http_gzip_module && make -j2) >"$apt/log" 2>&1
	cp "$apt/source/objs/nginx" "$work/nginx"
}

package busybox
overrides="$here/override.yml"

root
go -C tests build -o "$work/nats-server" github.com/nats-io/nats-server/v2
program "$work/nats-server" /usr/bin/nats-server
install -m 755 $here/nats-entrypoint.sh "$work/root/entrypoint.sh"
image "$(pinned nats)" 'ENTRYPOINT ["/entrypoint.sh"]' 'ENV PATH=/usr/bin:/bin'

root
package prometheus
program "$work/debian/prometheus/usr/bin/prometheus" /bin/prometheus
image "$(pinned prom/prometheus)" 'ENTRYPOINT ["/bin/prometheus"]' 'USER 65534:65534' 'VOLUME /prometheus' 'ENV PATH=/usr/bin:/bin'

root
nginx=${NGINX:-}
if [[ -z $nginx && ! -x $work/nginx ]]; then
	build_nginx || echo "Debian has no source of nginx 1.27.3 or newer to be had here"
fi
[[ -n $nginx || ! -x $work/nginx ]] || nginx=$work/nginx
if [[ -z $nginx ]]; then
	package nginx
	nginx=$work/debian/nginx/usr/sbin/nginx
fi
if ! newer "$(nginx_version "$nginx")" 1.27.3; then
	echo "nginx $(nginx_version "$nginx") does not follow an upstream's addresses: that is not tested"
	sed 's/ resolve / /' deploy/nginx/nginx.conf >"$work/nginx.conf"
	sed "s|NGINX_CONF|$work/nginx.conf|" $here/old-nginx.yml >"$work/old-nginx.yml"
	overrides+=" $work/old-nginx.yml"
fi
program "$nginx" /usr/sbin/nginx
mkdir -p "$work/root"/{usr/share/nginx,var/log/nginx,var/lib/nginx}
image "$(pinned nginx)" 'ENTRYPOINT ["/bin/sh"]' 'ENV PATH=/usr/sbin:/usr/bin:/bin'

golang=$(pinned golang)
stamp="$golang $(go version) $(cat go.sum | cksum)"
if [[ $(docker image inspect --format '{{index .Config.Labels "stamp"}}' "$golang" 2>/dev/null) == "$stamp" ]]; then
	echo "stand-in: $golang, from the last run"
else
	root
	goroot=$(go env GOROOT)
	mkdir -p "$work/root/usr/local/go" "$work/root/go"
	cp -a "$goroot"/{bin,pkg,src,go.env,VERSION} "$work/root/usr/local/go/"
	# Only what the services need, in the form of a module proxy.
	GOMODCACHE=$work/modules GOPROXY=file://$(go env GOMODCACHE)/cache/download,$(go env GOPROXY) GOFLAGS=-modcacherw GOWORK=off \
		go list -deps ./services/... >"$work/log" 2>&1 || { cat "$work/log" >&2 && exit 1; }
	cp -a "$work/modules/cache/download" "$work/root/goproxy"
	image "$golang" "LABEL stamp=\"$stamp\"" 'ENV PATH=/usr/local/go/bin:/usr/bin:/bin' 'ENV GOPATH=/go' 'ENV GOTOOLCHAIN=local' \
		'ENV GOPROXY=file:///goproxy' 'ENV GOSUMDB=off'
fi

# Grafana and Jaeger have none: override.yml puts this in their place.
root
ln -s busybox "$work/root/bin/httpd"
image tickfan-standin/httpd 'ENV PATH=/bin'

rm -rf "$work/root"
echo "$overrides" >"$work/overrides"
