"""Wheels say of what age a system must be that loads their library."""

import platform

import pytest


@pytest.mark.parametrize(
    ("symbols", "tag"),
    [
        (b"GLIBC_2.2.5\0GLIBC_2.14", "manylinux_2_17_x86_64"),
        (b"GLIBC_2.32\0GLIBCXX_3.4.19", "manylinux_2_32_x86_64"),
        (b"GLIBC_2.32\0GLIBCXX_3.4.21", "manylinux_2_32_x86_64"),
        (b"GLIBC_2.32\0GLIBCXX_3.4.30", "manylinux_2_35_x86_64"),
        (b"GLIBC_2.38\0GLIBCXX_3.4.30", "manylinux_2_38_x86_64"),
        (b"GLIBC_2.32\0GLIBCXX_3.4.99", "linux_x86_64"),
    ],
)
def test_the_tag_is_that_of_the_newest_symbol(setup_script, tmp_path, symbols, tag):
    library = tmp_path / "library.so"
    library.write_bytes(b"\x7fELF\0" + symbols + b"\0")
    assert (
        setup_script.platform_tag("linux_x86_64", [library, tmp_path / "none"]) == tag
    )
    assert (
        setup_script.platform_tag("macosx_11_0_arm64", [library]) == "macosx_11_0_arm64"
    )


def test_a_compiler_builds_without_the_instruction_sets_that_it_does_not_know(
    setup_script, monkeypatch
):
    compiler = setup_script.find_compiler()
    if compiler is None or platform.machine() != "x86_64":
        pytest.skip("no compiler for x86 is here")
    known, unknown = ["-mavx2"], ["-mavx2", "-mavx4096"]
    monkeypatch.setattr(setup_script, "ISA_FLAGS", {"_a": known, "_b": unknown})
    assert setup_script.isa_flags("kernels_a", compiler) == known
    assert setup_script.isa_flags("kernels_b", compiler) == []
    assert setup_script.isa_flags("norm", compiler) == []
