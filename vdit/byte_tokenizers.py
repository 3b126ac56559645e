"""Tokenizers that need no vocabulary file: the released classes with one token a byte."""

from __future__ import annotations

from transformers import CLIPTokenizer, RobertaTokenizer

CLIP_MAX_TOKENS = 77


def byte_alphabet() -> list[str]:
    """List the 256 printable characters that byte-level BPE writes the bytes as, in byte order."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [byte for byte in range(256) if byte not in printable]
    characters = {byte: chr(byte) for byte in printable}
    characters |= {byte: chr(256 + i) for i, byte in enumerate(others)}
    return [characters[byte] for byte in range(256)]


def clip_byte_tokenizer() -> CLIPTokenizer:
    """Build a CLIP tokenizer without merges; "!" pads, as ModelScopeT2V's does."""
    letters = byte_alphabet()
    words = ["!", *letters, *(letter + "</w>" for letter in letters)]
    words += ["<|startoftext|>", "<|endoftext|>"]
    vocabulary = {word: i for i, word in enumerate(dict.fromkeys(words))}
    return CLIPTokenizer(
        vocab=vocabulary, merges=[], pad_token="!", model_max_length=CLIP_MAX_TOKENS
    )


def roberta_byte_tokenizer() -> RobertaTokenizer:
    """Build a RoBERTa tokenizer without merges."""
    words = ["<s>", "<pad>", "</s>", "<unk>", *byte_alphabet(), "<mask>"]
    return RobertaTokenizer(vocab={word: i for i, word in enumerate(words)}, merges=[])
