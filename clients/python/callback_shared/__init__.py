"""What clients and servers share: targets of gRPC, their addresses, names in certificates, and options of fields.

It imports no other package of this repository, and needs nothing but the dependencies of the Python client.
"""
