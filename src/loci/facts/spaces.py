"""White space at the ends of what comes from outside.

A tokenizer makes another token of a word behind two spaces, or behind none. So the one space that
joins a prompt and its answer is put by the model's side alone, and whatever a file or a shell left
at the ends is taken off where a fact is made.
"""

SPACES = " \t\u00a0\u3000"


def strip_prompt(text: str) -> str:
    """The text without spaces at its ends; line breaks stay, by which a chat template ends."""
    return text.strip(SPACES)


def stripped(texts: tuple[str, ...], *, prompts: bool) -> tuple[str, ...]:
    """Prompts or answers without spaces at their ends."""
    return tuple(map(strip_prompt if prompts else str.strip, texts))
