"""Control tokens of anybody's tokenizer: found however they are hidden, removed or broken, and nothing else touched."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ouro.core.control_tokens import (
    break_control_tokens,
    break_quoted_tokens,
    count_broken_tokens,
    count_control_tokens,
    find_control_tokens,
    remove_control_tokens,
)

TOKENS = (
    "<|im_start|> <|im_end|> <|endoftext|> <|vision_start|> <|image_pad|> <|eot_id|> <|start_header_id|> <|user|> "
    "<|begin_of_text|> <|reserved_special_token_0|> <|image_1|> <|box_start|> <｜end▁of▁sentence｜> <｜User｜> "
    "<|END_OF_TURN_TOKEN|> <|turn> <turn|> <|channel> <s> </s> <unk> <pad> <PAD> <mask> <bos> <eos> <start_of_turn> "
    "<end_of_turn> <start_of_image> <image_soft_token> <end_of_utterance> <fake_token_around_image> <row_1_col_2> "
    "<global-img> <image> <Image> <video> <audio> <im_start> <im_end> <im_patch> <image_placeholder> "
    "<image-placeholder> <IMG_CONTEXT> <img> </img> <ref> </ref> <box> </box> <quad> <loc0001> <loc_12> <seg001> "
    "<unused12> <extra_id_0> <0x0A> <0xff> <patch_index_0012> <grounding> </delimiter_of_multi_objects/> <slice> "
    "</image> <think> </think> <tool_call> <bbox> <ref-object> <cot-process> <start-image> <s_menu> [INST] [/INST] "
    "[IMG] [IMG_BREAK] [SYSTEM_PROMPT] [TOOL_CALLS] [control_17] [gMASK] [CLS] [PAD] <<SYS>> <</SYS>> ◁think▷ ◁/think▷ "
    "<BOS_TOKEN> <fim_prefix> |ENDOFTEXT|"
).split()
WORDS = (
    "<3", "a < b > c", "[INSTRUCTIONS]", "[inst]", "[1]", "<b>bold</b>", "<td>", '<img src="x.png">', "</s", "<s",
    "<left>", "if (a<image && b>c)", "<imagery>", "<|", "|>", "<||>", "x <| y |> z", "I <3 </3", "&lt;b&gt;", "<image",
    "R&D &amp; co", "<S>", "1 << 2 >> 1", "<padding>", "a|b|c", "＜３", "[ ]", "image>", "<0xZZ>", "«<»",
)  # fmt: skip
HALVES = (
    " ",
    *"<| |> < > im_ im _end start s /s [ ] INST / image \u200b | &lt; &gt; &#124; ＜ ｜ ＞ << SYS >> ◁ ▷ think a".split(
        " "
    ),
    *"0x0A loc0001 &amp;lt;".split(),
)
TEXTS = st.text(st.characters(), max_size=60) | st.lists(st.sampled_from([*HALVES, *TOKENS, *WORDS]), max_size=14).map(
    "".join
)


@pytest.mark.parametrize("token", [*TOKENS, "<|image start|>"])
def test_a_token_of_any_family_is_one(token: str) -> None:
    text = f"a cat{token} on a mat"
    assert find_control_tokens(text) == [(5, 5 + len(token))]
    assert remove_control_tokens(text) == ("a cat on a mat", 1)
    broken = f"a cat{token[0]} {token[1:]} on a mat"
    assert break_control_tokens(text) == (broken, 1)
    assert (count_control_tokens(broken), count_broken_tokens(broken)) == (0, 1)


@pytest.mark.parametrize("text", WORDS)
def test_what_only_looks_like_one_stays(text: str) -> None:
    assert find_control_tokens(text) == []
    assert remove_control_tokens(text) == break_control_tokens(text) == (text, 0)


@pytest.mark.parametrize(
    "hidden",
    [
        "<|im_\u200bstart|>", "<\u2060|im_start|\ufeff>", "<|im\u00ad_start|>", "<|im_\ufe0fstart|>", "[\u200dINST]",
        "<|im_\U000e0041start|>", "&lt;|im_start|&gt;", "&#60;|im_start|&#x3E;", "&LT;s&GT;", "［INST］", "＜image＞",
        "&amp;lt;&vert;im_start&vert;&amp;gt;", "＜｜im_start｜＞", "＜|ｉｍ_start|>", "&lbrack;/INST&rsqb;",
    ],
)  # fmt: skip
def test_a_hidden_token_is_one(hidden: str) -> None:
    assert remove_control_tokens(f"a {hidden}b") == ("a b", 1)
    broken = break_control_tokens(hidden).text
    assert broken == f"{hidden[0]} {hidden[1:]}" and count_control_tokens(broken) == 0


@pytest.mark.parametrize(
    ("nested", "n_tokens"),
    [("<|im_<|im_start|>start|>", 2), ("<im<image>age>", 2), ("[IN<s>ST]", 2), ("<<s>s>", 2), ("<|im_<s>", 1)],
)
def test_a_token_that_appears_when_another_one_goes_is_one(nested: str, n_tokens: int) -> None:
    cleaned = remove_control_tokens(f"a {nested}cat")
    assert cleaned.n_tokens == n_tokens and not find_control_tokens(cleaned.text)
    assert cleaned.text == ("a <|im_cat" if n_tokens == 1 else "a cat")


def test_an_attack_that_is_nested_without_end_is_broken_in_linear_time() -> None:
    deep = "<|im_" * 20_000 + "start|>" * 20_000
    cleaned = remove_control_tokens(deep)
    assert not find_control_tokens(cleaned.text) and 0 < cleaned.n_tokens < 10
    assert find_control_tokens("<" * 200_000) == find_control_tokens("&amp;" * 50_000 + "<") == []


@settings(deadline=None, max_examples=400)
@given(TEXTS)
def test_removing_and_breaking_leave_none_and_change_nothing_the_second_time(text: str) -> None:
    for clean in (remove_control_tokens, break_control_tokens):
        cleaned = clean(text)
        assert find_control_tokens(cleaned.text) == []
        assert clean(cleaned.text) == (cleaned.text, 0)
        assert (cleaned.n_tokens == 0) == (cleaned.text == text)


@settings(deadline=None)
@given(TEXTS)
def test_breaking_adds_blanks_and_nothing_else(text: str) -> None:
    assert break_control_tokens(text).text.replace(" ", "") == text.replace(" ", "")


@settings(deadline=None)
@given(TEXTS, TEXTS)
def test_no_token_appears_where_two_broken_texts_are_joined_by_a_blank(first: str, second: str) -> None:
    joined = f"{break_control_tokens(first).text} {break_control_tokens(second).text}"
    assert "image start|>" in joined or find_control_tokens(joined) == []


def test_what_is_quoted_of_the_picture_stays_as_words() -> None:
    assert break_quoted_tokens('a sign that reads "<image>" <s>') == 'a sign that reads "< image>" <s>'
