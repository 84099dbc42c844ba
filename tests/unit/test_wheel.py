"""Wheels say of what age a system must be that loads their library."""

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
