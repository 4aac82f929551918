#!/usr/bin/env bash
# Checks a receipt of Severable with bash, coreutils, sed, jq (1.6) and openssl (3.0) alone, offline.
#
#   verify-receipt.sh RECEIPT TRUST_ROOT
#
# Exit codes: 0 verified, 1 refused (one line on stderr says why), 2 wrong usage, an unreadable file or a missing tool.
# docs/verify-by-hand.md walks through it step by step and says what it leaves to `severable-verify`.
set -euo pipefail
export LC_ALL=C

PAYLOAD_TYPE=application/vnd.in-toto+json
P256_PREFIX=3059301306072a8648ce3d020106082a8648ce3d03010703420004 # DER of a P-256 key, up to its two coordinates
ED25519_PREFIX=302a300506032b6570032100                            # DER of an Ed25519 key, up to its 32 bytes
MARK=$'\xe2\x80\x94 '                                              # the dash and space before a note's signature
NUMBER='^(0|[1-9][0-9]{0,17})$'                                    # as far as bash can count

work='' wrong_call='' step='files'

finish() { # every way out leads here: what could not be checked does not pass
  local code=$?
  if [[ $wrong_call ]]; then
    echo "$wrong_call" >&2
    code=2
  elif ((code)); then
    echo "refused: $step: $(cat "$work/why" 2>/dev/null || echo 'it does not have the form it should have')" >&2
    code=1
  fi
  [[ -z $work ]] || rm -rf "$work"
  exit "$code"
}

stop() {
  wrong_call=$1
  exit 2
}

refuse() {
  printf '%s' "$1" >why
  exit 1
}

holds() { jq -e "$@" >/dev/null 2>&1; } # [OPTION...] CONDITION FILE

bytes() { printf '%b' "$(sed 's/../\\x&/g' <<<"$1")"; } # HEX

hex() { od -An -v -tx1 "$@" | tr -d ' \n'; }

sha256() { sha256sum | cut -c1-64; }

# --- Step 1: both files are one JSON document, in the one accepted spelling, with exactly the members they should have

one_document() { # FILE: as jq itself writes it, so without white space, with sorted members, with none twice
  jq -cjSs 'if length == 1 then .[0] else error end' "$1" 2>/dev/null | without_fractions |
    cmp -s - <(without_fractions <"$1") || refuse 'not one document of canonical JSON'
}

# jq does not write every fraction as RFC 8785 does. Two fields hold one; the spelling of their numbers is not compared.
without_fractions() { sed -E 's/"(lambda|memorization_ceiling)":[0-9.eE+-]+/"\1":0/g'; }

check_files() {
  step='trust root'
  one_document root.json
  holds '.format == "severable-trust-root/v1"
    and keys == ["coordinator_id", "coordinator_key", "format", "log_vkey", "witnesses"]
    and ([.coordinator_id, .coordinator_key, .log_vkey, .witnesses[]] | all(type == "string"))
    and (.witnesses | length == (unique | length))' root.json || refuse 'its format or its members are wrong'
  step='receipt file'
  (($(wc -c <bundle.json) <= 8 << 20)) || refuse 'more than 8 MiB'
  one_document bundle.json
  holds --arg type "$PAYLOAD_TYPE" '.format == "severable-receipt/v1"
    and keys == ["contract", "format", "proof", "receipt", "request", "roster"] and (.proof | type) == "string"
    and all(.receipt, .request, .contract, .roster;
      keys == ["payload", "payloadType", "signatures"] and .payloadType == $type
      and ([.payload, .signatures[].sig] | all(test("\\A[A-Za-z0-9+/]+={0,2}\\z")))
      and all(.signatures[]; keys == ["keyid", "sig"] and (.keyid | test("\\A[0-9a-f]{64}\\z")))
      and ([.signatures[].keyid] | . == unique))' bundle.json ||
    refuse 'its format, its members, a payload type or the form of a text are wrong'
}

# --- Steps 2 and 3: the signatures of the four statements: DSSE, ECDSA on P-256 with SHA-256

take_apart() { # of each statement: NAME.payload, for each key id NAME.<id>, and the key ids in NAME.signers
  local name part text
  jq -r '{receipt, request, contract, roster} | to_entries[] | .key as $name | .value
    | "\($name) payload \(.payload)", (.signatures[] | "\($name) \(.keyid) \(.sig)")' bundle.json >parts
  while read -r name part text; do
    base64 -d <<<"$text" >"$name.$part" 2>/dev/null || refuse "a text of the $name is not base64"
    [[ $(base64 -w0 "$name.$part") == "$text" ]] || refuse "a text of the $name is not canonical base64"
    [[ $part == payload ]] || echo "$part" >>"$name.signers"
  done <parts
}

read_key() { # WHO: of WHO.pem, checks that it is a P-256 key in its usual spelling, and writes its id into WHO.id
  openssl pkey -pubin -in "$1.pem" -outform DER -out "$1.der" 2>/dev/null ||
    refuse "the key of the $1 is no PEM"
  [[ $(hex "$1.der") =~ ^${P256_PREFIX}[0-9a-f]{128}$ ]] || refuse "the key of the $1 is not on P-256"
  openssl pkey -pubin -in "$1.pem" | cmp -s - "$1.pem" || refuse "the key of the $1 has another spelling"
  sha256 <"$1.der" >"$1.id"
}

check_statement() { # NAME KIND WHO...: signed by exactly these, and of this kind. Its id goes into NAME.id
  local name=$1 kind=$2 payload=$1.payload who
  step=$name
  shift 2
  (($(wc -c <"$payload") <= 1 << 20)) || refuse 'more than 1 MiB'
  cat "${@/%/.id}" | sort | cmp -s - "$name.signers" || refuse "not signed by exactly these: $*"
  printf 'DSSEv1 %d %s %d ' ${#PAYLOAD_TYPE} "$PAYLOAD_TYPE" "$(wc -c <"$payload")" | cat - "$payload" >signed
  for who; do
    openssl dgst -sha256 -verify "$who.pem" -signature "$name.$(<"$who.id")" signed >/dev/null 2>&1 ||
      refuse "the signature of the $who is wrong"
  done
  one_document "$payload"
  holds --arg type "urn:severable:$kind:v1" '._type == "https://in-toto.io/Statement/v1" and .predicateType == $type
    and keys == ["_type", "predicate", "predicateType", "subject"]' "$payload" ||
    refuse "not a statement of the kind $kind"
  sha256 <"$payload" >"$name.id"
}

check_statements() {
  step='trust root'
  jq -j .coordinator_key root.json >coordinator.pem
  read_key coordinator
  check_statement roster roster coordinator
  check_statement receipt receipt coordinator
  if [[ $(jq -j .predicateType request.payload 2>/dev/null) == urn:severable:removal-order:v1 ]]; then
    check_statement request removal-order coordinator # no party asked: the contract must let the coordinator order it
  else
    party_key request
    check_statement request erasure-request party
  fi
  party_key contract
  check_statement contract contract party coordinator
}

party_key() { # NAME: the key by which the party signed it, its present one or one before; into party.pem
  local count place
  step=$1
  jq -c --slurpfile receipt receipt.payload '[.predicate.parties[] | select(.id == $receipt[0].predicate.party)]
    | if length == 1 then [.[0] | .statement_key, .former_keys[]] else error end' roster.payload >keys 2>/dev/null ||
    refuse 'the roster does not name the party once'
  count=$(jq length keys)
  for ((place = 0; place < count; place++)); do
    jq -j ".[$place]" keys >party.pem
    read_key party
    if grep -qxF "$(<party.id)" "$1.signers"; then return; fi
  done
  refuse 'the party did not sign it, by its present key or one before'
}

# --- Step 4: the receipt is in the log, under a checkpoint that the log and every witness signed

note_key() { # VKEY TYPE: "<name>+<key id>+<base64 of the type's byte and the key>" joins the known keys
  local name id
  [[ $1 =~ ^([!-*,-~]+)\+([0-9a-f]{8})\+([A-Za-z0-9+/]{44})$ ]] ||
    refuse 'a note key has another form'
  name=${BASH_REMATCH[1]} id=${BASH_REMATCH[2]}
  base64 -d <<<"${BASH_REMATCH[3]}" >raw
  [[ $(hex -N1 raw) == "$2" && $({ echo "$name" && cat raw; } | sha256) == "$id"* ]] ||
    refuse 'a note key is of another type or has a wrong key id'
  { bytes $ED25519_PREFIX && tail -c 32 raw; } >"key.${#known[@]}"
  known+=("$2 $name $id")
}

check_note_line() { # LINE: verifies the one signature it holds
  local signer id time place
  [[ $1 =~ ^${MARK}([!-*,-~]+)\ ([A-Za-z0-9+/]+=*)$ ]] || refuse 'a signature line has another form'
  signer=${BASH_REMATCH[1]}
  base64 -d <<<"${BASH_REMATCH[2]}" >raw 2>/dev/null || refuse 'a signature is not base64'
  [[ $(base64 -w0 raw) == "${BASH_REMATCH[2]}" ]] || refuse 'a signature is not canonical base64'
  id=$(hex -N4 raw)
  for place in "${!known[@]}"; do
    case ${known[place]} in
      "01 $signer $id")
        (($(wc -c <raw) == 4 + 64)) || refuse 'a signature has another length'
        cp text signed
        ;;
      "04 $signer $id") # between key id and signature stands the time, in seconds since 1970, which is signed too
        (($(wc -c <raw) == 4 + 8 + 64)) || refuse 'a cosignature has another length'
        time=$(od -An -tu8 --endian=big -j4 -N8 raw | tr -d ' ')
        ((${#time} <= 12 && time < 253402300800)) || refuse 'a cosignature is of no time that exists'
        { printf 'cosignature/v1\ntime %s\n' "$time" && cat text; } >signed
        ;;
      *) continue ;;
    esac
    tail -c 64 raw >signature
    openssl pkeyutl -verify -pubin -keyform DER -inkey "key.$place" -rawin -in signed \
      -sigfile signature >/dev/null 2>&1 || refuse 'a signature under the checkpoint is wrong'
    known[place]=signed
    return
  done
  refuse 'a signature by a key that neither trust root nor roster names, or a second one by the same key'
}

hash_to() { # FILE: the SHA-256 of what is read, as 32 bytes
  local digest
  digest=$(sha256)
  bytes "$digest" >"$1"
}

climb() { # INDEX SIZE HASH...: from the leaf in the file node up to the root, RFC 9162 section 2.1.3.2
  local place=$1 last=$(($2 - 1)) sibling
  shift 2
  for sibling; do
    ((last > 0)) || refuse 'the inclusion proof is too long'
    [[ $sibling =~ ^[A-Za-z0-9+/]{43}=$ && $(base64 -d <<<"$sibling" | base64) == "$sibling" ]] ||
      refuse 'a hash of the inclusion proof has another form'
    base64 -d <<<"$sibling" >sibling
    if ((place % 2 || place == last)); then
      { printf '\x01' && cat sibling node; } | hash_to parent
      while ((place % 2 == 0 && place > 0)); do place=$((place / 2)) last=$((last / 2)); done
    else
      { printf '\x01' && cat node sibling; } | hash_to parent
    fi
    mv parent node
    place=$((place / 2)) last=$((last / 2))
  done
  ((last == 0)) || refuse 'the inclusion proof is too short'
}

check_log() {
  local lines line gap=2 index size name place required known=()
  step='log proof'
  jq -j .proof bundle.json >proof
  mapfile -t lines <proof
  printf '%s\n' "${lines[@]}" | cmp -s - proof || refuse 'not lines of plain text, each ended by a newline'
  while ((gap < ${#lines[@]})) && [[ ${lines[gap]} ]]; do gap=$((gap + 1)); done
  # Header, index, hashes, gap; then the note: origin, size, root, gap, one signature a line.
  ((${#lines[@]} > gap + 5 && gap <= 2 + 63)) && [[ ${lines[0]} == c2sp.org/tlog-proof@v1 && ! ${lines[gap + 4]} ]] ||
    refuse 'not a proof followed by a signed checkpoint'
  index=${lines[1]#index } size=${lines[gap + 2]}
  [[ ${lines[1]} == "index $index" && $index =~ $NUMBER && $size =~ $NUMBER ]] ||
    refuse 'the index or the size is no number'
  ((index < size)) || refuse 'the index is not in the tree'

  printf '%s\n' "${lines[@]:gap+1:3}" >text
  note_key "$(jq -j .log_vkey root.json)" 01
  jq -r '.witnesses[]' root.json >witnesses
  while read -r line; do note_key "$line" 04; done <witnesses
  required=${#known[@]}
  jq -r --slurpfile root root.json '[.predicate.parties[].witness | select(. != "")] - $root[0].witnesses | .[]' \
    roster.payload >parties
  while read -r line; do note_key "$line" 04; done <parties # a party may cosign, it need not
  for line in "${lines[@]:gap+5}"; do check_note_line "$line"; done
  for ((place = 0; place < required; place++)); do
    [[ ${known[place]} == signed ]] || refuse 'the log or a witness has not signed the checkpoint'
  done
  name=$(jq -j '.log_vkey | split("+")[0]' root.json)
  [[ ${lines[gap + 1]} == "$name" ]] || refuse 'the checkpoint is of another log'

  { printf '\x00' && printf '{"kind":"receipt","signers":["%s"],"statement":"sha256:%s"}' \
    "$(<coordinator.id)" "$(<receipt.id)"; } | hash_to node
  climb "$index" "$size" "${lines[@]:2:gap-2}"
  [[ $(base64 <node) == "${lines[gap + 3]}" ]] ||
    refuse 'the receipt does not lead to the root of the checkpoint'
}

# --- Step 5: the statements say the same

RULES='
def must(condition; why): if condition then empty else why end;
def time: test("\\A[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}Z\\z");
$root[0] as $root | $roster[0].predicate as $roster | $receipt[0].predicate as $receipt
| ($request[0].predicateType == "urn:severable:removal-order:v1") as $order
| $request[0].predicate as $request | $contract[0].predicate as $contract | first(
must($roster.coordinator_id == $root.coordinator_id; "the roster is of another coordinator"),
must($roster.coordinator_key == $root.coordinator_key; "the roster names another key of the coordinator"),
must([$root.coordinator_id, $roster.parties[].id] | length == (unique | length); "the roster names an id twice"),
must([$root.coordinator_key, ($roster.parties[] | .statement_key, .former_keys[])] | length == (unique | length);
  "the roster names a key twice"),
must($receipt.publisher == $root.coordinator_id; "the receipt is published by another than the coordinator"),
must([$roster.expires, $receipt.issued, $request.submitted] | all(time); "a time has another form"),
must($receipt.issued < $roster.expires; "the roster had expired when the receipt was issued"),
must($request.submitted <= $receipt.issued; "the receipt was issued before its request was made"),
must($receipt.request == "sha256:" + $ids.request; "the receipt answers another request"),
must($receipt.contract == "sha256:" + $ids.contract; "the receipt rests on another contract"),
must($request.contract == "sha256:" + $ids.contract; "the request rests on another contract"),
must($request.party == $receipt.party; "the request is of another party"),
must($contract.assigner.id == $receipt.party; "the contract is of another party"),
must($contract.assignee.id == $receipt.publisher; "the contract is with another coordinator"),
must($contract.assigner.key_id == $ids.party; "the contract names another key of the party"),
must($contract.assignee.key_id == $ids.coordinator; "the contract names another key of the coordinator"),
must($request.subjects - $receipt.subjects == []; "a shard that was asked for is not among the removed"),
if $order then
  must($request.publisher == $receipt.publisher; "the order is of another coordinator"),
  must($contract.obligation[0].triggers | index($request.clause); "the contract starts no deletion on this clause"),
  must($request.clause != "expiry" or $request.submitted >= $contract.valid_until;
    "the order is by expiry, and the term was not over") else empty end,
must($receipt.subjects - [$receipt.actions[].digest] == [];
  "a shard is listed as removed, and no action erased it"),
must([$receipt.actions[].at, $receipt.checks[].at] | all(time and . <= $receipt.issued);
  "an action or check is later than the receipt"),
"")'

check_agreement() {
  local said
  step='agreement'
  jq -n '$ARGS.named' --arg request "$(<request.id)" --arg contract "$(<contract.id)" \
    --arg party "$(<party.id)" --arg coordinator "$(<coordinator.id)" >ids
  said=$(jq -rn --slurpfile root root.json --slurpfile roster roster.payload --slurpfile receipt receipt.payload \
    --slurpfile request request.payload --slurpfile contract contract.payload --argjson ids "$(<ids)" \
    "$RULES" 2>/dev/null) || refuse 'a field is missing or has another form'
  [[ -z $said ]] || refuse "$said"
}

trap finish EXIT
(($# == 2)) || stop "usage: ${0##*/} RECEIPT TRUST_ROOT"
for tool in jq openssl sha256sum base64 od; do
  command -v "$tool" >/dev/null || stop "$tool is not installed"
done
for file; do
  [[ -f $file && -r $file ]] || stop "cannot read $file"
done
work=$(cd "$(mktemp -d)" && pwd)
cp -- "$1" "$work/bundle.json" # what was checked at the beginning is what is checked at the end
cp -- "$2" "$work/root.json"
cd "$work"

check_files
take_apart
check_statements
check_log
check_agreement
jq -r --arg id "sha256:$(<receipt.id)" '.predicate
  | "verified: receipt \(.receipt_id | @json) of \(.party | @json), \($id)", .' receipt.payload
