"""Link planning: what a link can give before it is built.

A *scenario* says where the light goes (`channel_settings`), what it carries
(`scheme_settings`) and what is varied. `evaluate` turns it into curves of loss,
payload and key; `presets` are scenarios with names. The channel models come from
`sim_backends.propagation`, the worth of a key from `protocols.security`: the same
functions that the bench uses.
"""
