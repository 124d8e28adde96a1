"""What clients and servers share: targets of gRPC, names in certificates, and options of the fields of the contract.

It imports no other package of this repository, and needs nothing but the dependencies of the Python client.
"""
