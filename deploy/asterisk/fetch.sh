#!/bin/sh
# Fetch a real Asterisk (22), SIPp (the test phone) and eSpeak NG (speaks prompts) into a folder: no root, nothing
# installed on the host.
#
#   deploy/asterisk/fetch.sh [DIR]        DIR defaults to .asterisk at the top of the project
#
# Debian 12 has no Asterisk; Debian unstable ("sid") has one. The packages are downloaded with apt from the
# mirror this machine already uses, their signatures checked with the Debian archive keyring, and unpacked
# (not installed) below DIR/root together with the C library they were built for. Programs are started with
# the tree's own loader:
#
#   DIR/run asterisk -V        DIR/run sipp -v        DIR/run espeak-ng --version
#
# CROSSPOINT_ASTERISK_SUITE names another suite, for an older Asterisk: bullseye has 16. Give it a DIR of its own.
#
# sid moves. What was found is pinned: DIR/packages lists every package with its version and SHA-256,
# and DIR/.apt/cache keeps the packages. A second run does nothing unless a package wanted by now is missing;
# remove DIR/packages to fetch anew.
set -eu

PROGRAM=fetch.sh
SUITE=${CROSSPOINT_ASTERISK_SUITE:-sid}
WANTED="asterisk asterisk-modules asterisk-core-sounds-en-gsm sip-tester espeak-ng"
KEYRING=/usr/share/keyrings/debian-archive-keyring.gpg

fail() {
    echo "$PROGRAM: $*" >&2
    exit 1
}

# The mirror of this machine: first Debian entry of the new format, then of the old one.
mirror() {
    for file in /etc/apt/sources.list.d/*.sources; do
        [ -r "$file" ] || continue
        # A stanza that is Debian's own and not the security archive, which has no sid.
        awk 'tolower($1) == "uris:" { for (i = 2; i <= NF; i++) if ($i ~ /\/debian\/?$/) { print $i; exit } }' "$file"
    done | head -n 1 | grep . && return
    for file in /etc/apt/sources.list /etc/apt/sources.list.d/*.list; do
        [ -r "$file" ] || continue
        awk '$1 == "deb" { for (i = 2; i <= NF; i++) if ($i ~ /^[a-z+]+:.*\/debian\/?$/) { print $i; exit } }' "$file"
    done | head -n 1 | grep .
}

version_of() {
    awk -v name="$1" '$1 == name { print $2 }' "$DIR/packages"
}

# Whether an earlier run has left everything behind that is wanted.
is_complete() {
    [ -s "$DIR/packages" ] && [ -x "$DIR/run" ] || return 1
    for package in $WANTED; do
        [ -n "$(version_of "$package")" ] || return 1
    done
}

report() {
    echo "Asterisk $(version_of asterisk) and SIPp $(version_of sip-tester) are in $DIR"
}

top=$(cd "$(dirname "$0")/../.." && pwd)
DIR=${1:-$top/.asterisk}
mkdir -p "$DIR" || fail "cannot create $DIR"
DIR=$(cd "$DIR" && pwd)

if is_complete; then
    report
    exit 0
fi

# Two runs at once (tests in parallel) must not unpack into each other's tree.
exec 9> "$DIR/.lock"
flock -w 600 9 || fail "another run holds $DIR/.lock for ten minutes"
if is_complete; then
    report
    exit 0
fi

for tool in apt-get dpkg-deb sha256sum awk; do
    command -v "$tool" > /dev/null || fail "$tool is missing; this script needs Debian or Ubuntu"
done
[ -r "$KEYRING" ] || fail "$KEYRING is missing: install the package debian-archive-keyring"
MIRROR=${CROSSPOINT_DEBIAN_MIRROR:-$(mirror || true)}
[ -n "$MIRROR" ] || fail "no Debian mirror in the apt sources; set CROSSPOINT_DEBIAN_MIRROR=<uri of a mirror>"

# apt with a state folder of its own: it sees no installed package, so it downloads every dependency,
# libc included, and never touches the host.
APT=$DIR/.apt
mkdir -p "$APT/lists/partial" "$APT/cache/archives/partial"
: > "$APT/status"
echo "deb [signed-by=$KEYRING] $MIRROR $SUITE main" > "$APT/sources.list"
apt() {
    apt-get -qq \
        -o Dir::State="$APT" -o Dir::State::status="$APT/status" -o Dir::State::lists="$APT/lists" \
        -o Dir::Cache="$APT/cache" -o Dir::Etc::sourcelist="$APT/sources.list" \
        -o Dir::Etc::sourceparts=- -o Dir::Etc::preferencesparts=- -o Dir::Etc::preferences=- \
        -o APT::Sandbox::User= -o Debug::NoLocking=true -o Acquire::Retries=3 -o Acquire::Languages=none \
        "$@"
}
apt -o APT::Update::Error-Mode=any update > "$DIR/fetch.log" 2>&1 || { cat "$DIR/fetch.log" >&2; fail "cannot read $MIRROR $SUITE"; }
# shellcheck disable=SC2086  # a list of names
apt install --download-only --no-install-recommends -y $WANTED >> "$DIR/fetch.log" 2>&1 \
    || { cat "$DIR/fetch.log" >&2; fail "cannot download the packages from $MIRROR $SUITE"; }

# Only the newest of each: an earlier run may have left what is no longer in the suite.
apt autoclean >> "$DIR/fetch.log" 2>&1 || true
rm -rf "$DIR/root.part" "$DIR/root.old"
mkdir "$DIR/root.part"
for package in "$APT"/cache/archives/*.deb; do
    dpkg-deb -x "$package" "$DIR/root.part" || fail "cannot unpack $package"
done
# update-alternatives would do this on an installed system.
ln -s en_US_f_Allison "$DIR/root.part/usr/share/asterisk/sounds/en"
[ ! -d "$DIR/root" ] || mv "$DIR/root" "$DIR/root.old"
mv "$DIR/root.part" "$DIR/root"
rm -rf "$DIR/root.old"

loader=$(find "$DIR/root" -name 'ld-linux*.so.*' -path '*/lib/*-linux-gnu*' | head -n 1)
[ -n "$loader" ] || fail "the unpacked tree has no loader for this machine ($(uname -m))"
libraries=$(dirname "$loader")
triplet=$(basename "$libraries")
# Before Debian merged /usr, libraries stood in two places; a loader before glibc 2.33 gives its own name to programs.
libraries="$DIR/root/lib/$triplet:$DIR/root/usr/lib/$triplet:$DIR/root/usr/lib/$triplet/pulseaudio:$DIR/root/usr/lib"
argv0='--argv0 "$name"'
"$loader" --help 2> /dev/null | grep -q -e --argv0 || argv0=
voices=$(dirname "$(find "$DIR/root/usr/lib" "$DIR/root/usr/share" -type d -name espeak-ng-data -not -path '*/doc/*' | head -n 1)")
cat > "$DIR/run" << END
#!/bin/sh
# Starts a program of the tree with the tree's own loader and libraries: $DIR/run asterisk -V
name=\$1
shift
export ESPEAK_DATA_PATH="$voices"
for folder in usr/sbin usr/bin; do
    [ -x "$DIR/root/\$folder/\$name" ] && exec "$loader" --library-path "$libraries" $argv0 \\
        "$DIR/root/\$folder/\$name" "\$@"
done
echo "run: no \$name in $DIR/root" >&2
exit 127
END
chmod +x "$DIR/run"
"$DIR/run" asterisk -V > /dev/null || fail "the unpacked Asterisk does not start on this machine"

# Written last: its presence says that everything above is complete.
for package in "$APT"/cache/archives/*.deb; do
    printf '%s %s\n' "$(dpkg-deb -W --showformat='${Package} ${Version} ${Architecture}' "$package")" \
        "$(sha256sum "$package" | cut -d ' ' -f 1)"
done | sort > "$DIR/packages.part"
mv "$DIR/packages.part" "$DIR/packages"
report
