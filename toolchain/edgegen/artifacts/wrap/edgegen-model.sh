#!/bin/sh
# Mender update module (version 3): a model into the free one of two slots, after edgegen_runtime found it good.
# Install it as /usr/share/mender/modules/v3/edgegen-model, mode 755. /etc/edgegen/model.conf, a file of root's, says:
#   ROOT=/var/lib/model               folder of the two slots
#   KEYS="--key /etc/edgegen/release.pub"
#   TARGET=raspberrypi5               what this device is
#   PYTHON=/opt/model/bin/python      Python 3.11 or newer with edgegen_runtime, numpy and the inference runtime
#   RESTART="systemctl restart app"   optional: after the switch
# Nothing on the device changes before ArtifactCommit, so there is nothing to roll back.
set -eu

state=$1
files=$2
work="$files/tmp/edgegen-model"

runtime() {
    "$PYTHON" -P -B -m edgegen_runtime "$@"
}

digest() {
    "$PYTHON" -c 'import json, sys; print(json.load(sys.stdin)["digest"])'
}

case "$state" in
NeedsArtifactReboot)
    echo No
    ;;
SupportsRollback)
    echo Yes
    ;;
ArtifactInstall)
    . "${EDGEGEN_MODEL_CONF:-/etc/edgegen/model.conf}"
    rm -rf "$work"
    mkdir -p "$work"
    tar -xf "$files/files/update.tar" -C "$work"
    # KEYS and TARGET are words of the configuration, to be split.
    runtime verify "$work/bundle" $KEYS --target "$TARGET" --self-test > /dev/null
    ;;
ArtifactCommit)
    . "${EDGEGEN_MODEL_CONF:-/etc/edgegen/model.conf}"
    installed=$(runtime update install "$work/bundle" --root "$ROOT" $KEYS --target "$TARGET" | digest)
    booted=$(runtime update boot --root "$ROOT" $KEYS --target "$TARGET" | digest)
    if [ "$installed" != "$booted" ]; then
        echo "edgegen-model: the device goes on with $booted" >&2
        exit 1
    fi
    ${RESTART:-true}
    ;;
Cleanup)
    rm -rf "$work"
    ;;
esac
