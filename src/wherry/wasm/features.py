"""What was added to WebAssembly 1.0, by the names that people know the additions by."""

SIGN_EXTENSION = "sign extension"
SATURATING = "saturating conversions"
MULTIPLE_RESULTS = "multiple results"
BULK_MEMORY = "bulk memory"
REFERENCES = "reference types"
SIMD = "SIMD"
RELAXED_SIMD = "relaxed SIMD"
TAIL_CALLS = "tail calls"
EXCEPTIONS = "exceptions"
FIRST_EXCEPTIONS = "exceptions of the first draft"
TYPED_REFERENCES = "typed references"
GARBAGE_COLLECTION = "garbage collection"
THREADS = "threads"
MEMORY64 = "memory64"
MEMORIES = "multiple memories"
PAGE_SIZES = "custom page sizes"
WIDE_ARITHMETIC = "wide arithmetic"

ALL = (
    SIGN_EXTENSION,
    SATURATING,
    MULTIPLE_RESULTS,
    BULK_MEMORY,
    REFERENCES,
    SIMD,
    RELAXED_SIMD,
    TAIL_CALLS,
    EXCEPTIONS,
    FIRST_EXCEPTIONS,
    TYPED_REFERENCES,
    GARBAGE_COLLECTION,
    THREADS,
    MEMORY64,
    MEMORIES,
    PAGE_SIZES,
    WIDE_ARITHMETIC,
)
"""In the order they are told in: about that of their age."""

NOT_HERE = frozenset({FIRST_EXCEPTIONS, PAGE_SIZES})
"""What the engines of a machine do not run with the settings that wherry has for them."""
