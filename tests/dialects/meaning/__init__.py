"""What a chat request means, read from each dialect's body into one plain form, so that two bodies can be compared."""

from . import anthropic_messages, bedrock_converse, cohere_v2, gemini, ollama, openai_chat, openai_responses
from .compare import Verdict, judge, refused_for
from .form import squeeze
from .media import media_at, with_own_urls

READ = {module.__name__.rsplit(".", 1)[-1]: module.read for module in (
    openai_chat, openai_responses, anthropic_messages, gemini, bedrock_converse, cohere_v2, ollama)}

__all__ = ["READ", "Verdict", "judge", "media_at", "refused_for", "squeeze", "with_own_urls"]
