"""Operations: what `callback doctor` and `callback repair` do, and a running server for itself."""
