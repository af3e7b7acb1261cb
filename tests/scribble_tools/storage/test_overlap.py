"""What is written and what is read, told apart through links."""

import pytest

from scribble_tools.storage.overlap import lies_in, refuse_overlap, refuse_same_file


def test_a_folder_lies_in_itself_and_in_what_a_link_leads_to(tmp_path):
    (tmp_path / "a" / "b").mkdir(parents=True)
    (tmp_path / "link").symlink_to(tmp_path / "a")
    assert lies_in(tmp_path / "a", tmp_path / "a")
    assert lies_in(tmp_path / "a" / "b" / "new", tmp_path / "link")
    assert not lies_in(tmp_path / "a", tmp_path / "a" / "b")
    with pytest.raises(ValueError, match="would be written into"):
        refuse_overlap(tmp_path / "link" / "new", tmp_path / "a")


def test_links_in_a_loop_are_places_like_others(tmp_path):
    loop = tmp_path / "loop"
    loop.symlink_to("loop")
    assert not lies_in(loop, tmp_path / "a") and lies_in(loop, tmp_path)
    refuse_same_file(tmp_path / "new", [loop])
    with pytest.raises(ValueError, match="take another place"):
        refuse_same_file(loop, [loop])
