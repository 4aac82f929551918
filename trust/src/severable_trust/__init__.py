"""Statements, signatures, the log and the offline verifier: bytes in, proven values out.

Nothing here opens a socket, reads a clock or touches a disk; only the command line (`cli`) reads files. Read in this
order:

    errors        what can be wrong, as one tree
    digest        digests that carry their algorithm
    canonical     the one byte encoding that is ever signed
    keys          P-256 keys and the `Signer` port
    envelope      DSSE: payload, type, signatures
    record        how a frozen dataclass becomes JSON and back, strictly
    statement     an in-toto Statement of one of our kinds; `Proven`
    contract      what was agreed, its states, and whether it allows a thing (parts in `terms` and `lifecycle`)
    shard, composite, removal, receipt, roster    the other kinds of statement
    entry, merkle, note, checkpoint               the log: leaves, tree, signed checkpoints, proofs
    tensors       what a safetensors file holds
    verifier      admission of a shard, in numbered steps
    bundle        receipts, composites and shards checked offline from a `TrustRoot`
    log_bundle    a whole log checked offline; `keyring` says whose keys its statements may be signed with
    cli           `severable-verify`
"""
