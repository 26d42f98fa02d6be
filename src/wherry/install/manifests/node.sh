#!/bin/sh
# What the DaemonSet runs on a node, whose files are in $HOST: "set-up" when it comes, "leave" when
# it goes. Both may be cut short at any moment and run again.
set -eu

HOST=${HOST:-/host}
STATE=${STATE:-/tmp}
LABEL=wherry/ready
API="https://${KUBERNETES_SERVICE_HOST:-}:${KUBERNETES_SERVICE_PORT:-}"
ACCOUNT=/var/run/secrets/kubernetes.io/serviceaccount

# api METHOD PATH [BODY]: the status, and the answer in $STATE/answer.
api() {
    curl -sS -o "$STATE/answer" -w '%{http_code}' --max-time 20 --cacert "$ACCOUNT/ca.crt" \
        -H "Authorization: Bearer $(cat "$ACCOUNT/token")" -X "$1" \
        ${3:+-H "Content-Type: application/merge-patch+json" --data "$3"} "$API$2"
}

label() {
    [ "$(api PATCH "/api/v1/nodes/$NODE_NAME" "{\"metadata\":{\"labels\":{\"$LABEL\":$1}}}")" = 200 ]
}

set_up() {
    folder=$HOST$WHERRY
    if [ ! -e "$folder/.complete" ]; then
        rm -rf "$folder" "$folder.new"
        mkdir -p "${folder%/*}"
        cp -a "$WHERRY" "$folder.new"
        sync -f "$folder.new"
        : >"$folder.new/.complete"
        mv "$folder.new" "$folder"
    fi
    # shellcheck disable=SC2086
    "$WHERRY/bin/wherry" install containerd --root "$HOST" --yes --restart ${INSTALL_FLAGS:-}
    remove_old
    label '"true"'
    : >"$STATE/ready"
    echo "ready: pods with runtimeClassName wherry can run on $NODE_NAME"
}

# Versions that no process of the node was started from.
remove_old() {
    for old in "$HOST${WHERRY%/*}"/*; do
        [ "$old" != "$HOST$WHERRY" ] || continue
        users=$(find /proc -maxdepth 2 -name exe -lname "${old#"$HOST"}/*" 2>/dev/null) || :
        [ -n "$users" ] || rm -rf "$old"
    done
}

# Whether the DaemonSet itself goes, and not just this pod for the sake of a newer one.
goes_for_good() {
    status=$(api GET "/apis/apps/v1/namespaces/$NAMESPACE/daemonsets/wherry") || return 1
    case $status in
    401 | 403 | 404) return 0 ;;
    200) grep -q '"deletionTimestamp"' "$STATE/answer" ;;
    *) return 1 ;;
    esac
}

leave() {
    goes_for_good || exit 0
    label null || true
    # Refused while containers of wherry's run on the node: then all of it stays as it is.
    "$WHERRY/bin/wherry" uninstall containerd --root "$HOST" --yes --restart
    rm -rf "$HOST${WHERRY%/*}"
}

case ${1:-} in
set-up)
    idle=
    trap '[ -z "$idle" ] || kill "$idle"; exit 0' TERM INT
    set_up
    # Nothing more to do, but a pod that ends is started again.
    sleep infinity &
    idle=$!
    wait
    ;;
leave) leave ;;
*)
    echo "usage: node.sh set-up|leave" >&2
    exit 2
    ;;
esac
