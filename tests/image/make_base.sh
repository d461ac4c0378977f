#!/bin/sh
# Makes the Dockerfile's base image where no image registry is reached: make_base.sh [TAG [ARCHITECTURE]]
#
# ARCHITECTURE is Debian's name, this machine's if none is given; another needs qemu-user-static.
# It is Debian's minimal system, as the public slim image is, from this machine's own package sources
# and with this machine's own certificates and pip settings, all read when it runs. None of that
# reaches the final image, which is made from nothing.
set -eu

TAG=${1:-debian:trixie-slim}
ARCHITECTURE=${2:-$(dpkg --print-architecture)}
SUITE=${TAG#*:}
SUITE=${SUITE%-slim}
MIRROR=$(sed -n 's/^URIs: *\([^ ]*\).*/\1/p; s/^deb \(\[[^]]*\] \)\{0,1\}\([^ ]*\) .*/\2/p' \
  /etc/apt/sources.list /etc/apt/sources.list.d/*.sources /etc/apt/sources.list.d/*.list 2>/dev/null |
  grep '/debian/*$' | head -n 1)
WORK=$(mktemp -d)
trap 'rm -rf "$WORK"' EXIT
trap 'exit 130' INT TERM

# As in the public image: of the documentation only what the licences ask for.
mmdebstrap --quiet --variant=apt --format=tar --architectures="$ARCHITECTURE" \
  --dpkgopt='path-exclude=/usr/share/man/*' --dpkgopt='path-exclude=/usr/share/locale/*' \
  --dpkgopt='path-exclude=/usr/share/doc/*' --dpkgopt='path-include=/usr/share/doc/*/copyright' \
  --include=ca-certificates \
  --customize-hook='mkdir -p "$1/root/.config/pip"' \
  --customize-hook='copy-in /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs' \
  --customize-hook='for f in /etc/pip.conf /root/.config/pip/pip.conf; do
      if [ -f "$f" ]; then cp "$f" "$1$f"; fi; done' \
  "$SUITE" "$WORK/base.tar" "$MIRROR"

docker import --platform "linux/$ARCHITECTURE" --change "ENV PIP_CERT=/etc/ssl/certs/ca-certificates.crt" \
  --change 'CMD ["/bin/sh"]' "$WORK/base.tar" "$TAG"
