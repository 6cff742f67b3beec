"""Act as the four payment providers: made-up lives of orders, sent over HTTP, kept in a ledger.

What a provider would send is pure and seeded (scenarios, mixing, one module per provider); how it is
sent, signed and written down is at the edge (simulate, sender, signing, ledger). Nothing here reads
the system's own tables: the ledger is what those are held against.
"""
