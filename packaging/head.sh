#!/bin/sh
# lq in one file. It unpacks itself once for each user, and from then on starts what is there:
# a program that unpacks itself at each start takes five times as long.
set -eu
build=@BUILD@
case $0 in /*) self=$0 ;; *) self=$PWD/$0 ;; esac

# Unpacks into folder $2 of folder $1, unless that has been done. Fails where nothing may be kept or
# run, and where the folder is somebody else's, who could change what is in it.
unpacked() {
    mkdir -p "$1" && [ -O "$1" ] && [ ! -L "$1" ] || return 1
    if [ ! -x "$1/$2/lq" ]; then
        new=$(mktemp -d "$1/.new.XXXXXX") || return 1
        { tail -n +@LINES@ "$self" | tar -xzo -f - -C "$new"; } && mv "$new" "$1/$2" || rm -rf "$new"
        rm -rf "$1/$2/${new##*/}" # another one was faster, and this one went into it
    fi
    [ -x "$1/$2/lq" ] && [ -O "$1/$2" ]
} 2>/dev/null

for folder in \
    ${XDG_CACHE_HOME:+"$XDG_CACHE_HOME/lq"} \
    ${HOME:+"$HOME/.cache/lq"} \
    "${TMPDIR:-/tmp}/lq-$(id -u)"; do
    if (umask 077 && unpacked "$folder" "$build"); then
        LQ_STARTED_AS=$self exec "$folder/$build/lq" "$@"
    fi
done
echo "lq: there is no folder to unpack into: one that is the user's own, and not mounted noexec" >&2
echo "hint: name one in XDG_CACHE_HOME; 60 MB are needed" >&2
exit 73
