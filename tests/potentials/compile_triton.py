"""Compiles the kernels for GPUs to machine code of compute capability 9.0, on any machine; run as a program of its own.

python -m tests.potentials.compile_triton, without TRITON_INTERPRET; TRITON_DUMP_PTXAS_LOG=1 shows registers and spills.
"""

from triton import compile as compiled
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

from potentials.kernels import triton_kernels as own
from potentials.kernels.embedded import N_DENSITY, N_PAIR
from potentials.kernels.triton_products import parts
from potentials.network import Shape

SHAPE = Shape(6.0, n_max=5, l_max=4, n_pair=8)
LANES = 64
FLOAT = ["bonds", "weights", "biases", "outputs", "features", "slopes", "moments", "back", "screening", "out"]
FLOAT += ["pair_knots", "halves", "density_knots", "densities"]
DOUBLE = [
    "positions",
    "vectors",
    "low",
    "nearest",
    "forces",
    "virials",
    "repelled",
    "energies",
    "shifts",
    "values",
    "sums",
]
WHOLE = [
    "bounds",
    "places",
    "kinds",
    "starts",
    "found",
    "second",
    "which",
    "counts",
    "owners",
    "offsets",
    "columns",
    "sizes",
]
# names that mean one thing in one kernel and another in the next
OTHER = {
    "images": {"first": "*i64"},
    "embedded_slopes": {"first": "*fp32"},
    "products": {"pairs": "*i64"},
    "reactions": {"pairs": "*fp64"},
    "crystal_sums": {"out": "*fp64"},
}
TYPES = dict.fromkeys(FLOAT, "*fp32") | dict.fromkeys(DOUBLE, "*fp64") | dict.fromkeys(WHOLE, "*i64")


def build(name, kernel, options, **constants):
    """The size in bytes of one kernel's machine code."""
    constants = {k: v for k, v in {**constants, "FLOAT": own.tl.float32}.items() if k in kernel.arg_names}
    types = TYPES | OTHER.get(name, {})
    signature = {a: "constexpr" if a in constants else types.get(a, "i32") for a in kernel.arg_names}
    rest = {k: v for k, v in options.items() if k != "BLOCK"}
    source = ASTSource(fn=kernel, signature=signature, constexprs=constants)
    return len(compiled(source, target=GPUTarget("cuda", 90, 32), options=rest).asm["cubin"])


def main():
    shaped = own.of_shape(SHAPE)
    wide, plain = own.WIDE["BLOCK"], own.PLAIN["BLOCK"]
    for part in range(len(parts(SHAPE))):
        size = build("moment_slopes", shaped.moment_slopes, own.WIDE, BLOCK=wide, PART=part)
        print(f"moment_slopes {size}", flush=True)
    for name in ("moments", "products", "bond_slopes"):
        size = build(name, getattr(shaped, name), own.WIDE, BLOCK=wide, REPULSION=True)
        print(f"{name} {size}", flush=True)
    for fill in (False, True):
        size = build("images", own.images, own.PLAIN, BLOCK=plain, FILL=fill, CUTOFF=SHAPE.cutoff)
        print(f"images {size}", flush=True)
    fused = {**own.PLAIN, "enable_fp_fusion": True}
    for added in (False, True):
        size = build("network", own.network, fused, BLOCK=own.NETWORK_TILE // LANES, LANES=LANES, ADDED=added)
        print(f"network {size}", flush=True)
    for name in ("reactions", "crystal_sums", "embedded_sums", "embedded_slopes"):
        size = build(name, getattr(own, name), own.PLAIN, BLOCK=plain, N_PAIR=N_PAIR, N_DENSITY=N_DENSITY, DEGREE=4)
        print(f"{name} {size}", flush=True)


if __name__ == "__main__":
    main()
