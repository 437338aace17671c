#!/bin/sh
# Installs man pages and completions, which the program writes itself from its table of commands.
# Called by `meson install` with the program; MESON_INSTALL_DESTDIR_PREFIX is where everything goes.
set -eu

argon=${1:?usage: MESON_INSTALL_DESTDIR_PREFIX=DIR tools/install-pages.sh ARGON}
share=${MESON_INSTALL_DESTDIR_PREFIX:?is not set}/share
pages=$(mktemp -d)
trap 'rm -rf "$pages"' EXIT

"$argon" man "$pages"
for section in 1 5; do
        mkdir -p "$share/man/man$section"
        install -m 644 "$pages"/*."$section" "$share/man/man$section/"
done
complete() {
        mkdir -p "$share/$2"
        "$argon" completion "$1" >"$share/$2/$3"
}
complete bash bash-completion/completions argon
complete zsh zsh/site-functions _argon
complete fish fish/vendor_completions.d argon.fish
