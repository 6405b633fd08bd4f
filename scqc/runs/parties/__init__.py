"""Alice and Bob: each end of a link, in one program or in two."""
