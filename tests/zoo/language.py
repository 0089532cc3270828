"""Models of the transformers library with random weights and tiny configurations."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from tests.zoo.models import Architecture
from tests.zoo.small import ids, tensors


class First(nn.Module):
    """The model's first result as a plain tensor, of the arguments named."""

    def __init__(self, model: nn.Module, *names: str, **constants: Any) -> None:
        super().__init__()
        self.model = model
        self.names = names
        self.constants = constants

    def forward(self, first: Tensor, second: Tensor | None = None) -> Tensor:
        given = dict(zip(self.names, (first, second), strict=False))
        return self.model(**given, **self.constants, return_dict=False)[0]


def loaded(
    model: str, config: str, *names: str, constants: dict[str, Any] | None = None, **settings: Any
) -> Callable[[], nn.Module]:
    """A builder of the transformers class ``model`` on ``config(**settings)``, attention and experts op by op."""

    def build() -> nn.Module:
        import transformers

        made = getattr(transformers, config)(**settings)
        made._attn_implementation = "eager"
        made._experts_implementation = "batched_mm"
        return First(getattr(transformers, model)(made), *(names or ("input_ids",)), **(constants or {}))

    return build


MASKED = ("input_ids", "attention_mask")
NO_CACHE = {"use_cache": False}
DECODER: dict[str, Any] = {
    "vocab_size": 53,
    "hidden_size": 24,
    "intermediate_size": 44,
    "num_hidden_layers": 2,
    "num_attention_heads": 6,
    "num_key_value_heads": 2,
    "max_position_embeddings": 32,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
}

gpt2 = loaded(
    "GPT2LMHeadModel", "GPT2Config", *MASKED, constants=NO_CACHE,
    vocab_size=53, n_positions=16, n_embd=24, n_layer=2, n_head=3, bos_token_id=1, eos_token_id=2,
)  # fmt: skip
bert = loaded(
    "BertForSequenceClassification", "BertConfig", *MASKED,
    vocab_size=53, hidden_size=24, num_hidden_layers=2, num_attention_heads=3, intermediate_size=40,
    max_position_embeddings=16, num_labels=5,
)  # fmt: skip
t5 = loaded(
    "T5ForConditionalGeneration", "T5Config", "input_ids", "decoder_input_ids", constants=NO_CACHE,
    vocab_size=53, d_model=24, d_kv=5, d_ff=44, num_layers=2, num_heads=3, feed_forward_proj="gated-gelu",
    relative_attention_num_buckets=8,
)  # fmt: skip
t5_tied = loaded(
    "T5ForConditionalGeneration", "T5Config", "input_ids", "decoder_input_ids", constants=NO_CACHE,
    vocab_size=53, d_model=24, d_kv=5, d_ff=44, num_layers=1, num_heads=3, tie_word_embeddings=True,
    relative_attention_num_buckets=8,
)  # fmt: skip
whisper = loaded(
    "WhisperForConditionalGeneration", "WhisperConfig", "input_features", "decoder_input_ids", constants=NO_CACHE,
    vocab_size=53, num_mel_bins=10, d_model=24, encoder_layers=1, decoder_layers=1, encoder_attention_heads=3,
    decoder_attention_heads=3, encoder_ffn_dim=40, decoder_ffn_dim=44, max_source_positions=15,
    max_target_positions=12, pad_token_id=0, bos_token_id=1, eos_token_id=2, decoder_start_token_id=1,
)  # fmt: skip
vit = loaded(
    "ViTForImageClassification", "ViTConfig", "pixel_values",
    hidden_size=24, num_hidden_layers=2, num_attention_heads=3, intermediate_size=40, image_size=16, patch_size=4,
    num_labels=5,
)  # fmt: skip
llama = loaded("LlamaForCausalLM", "LlamaConfig", *MASKED, constants=NO_CACHE, **DECODER)
qwen = loaded("Qwen3ForCausalLM", "Qwen3Config", *MASKED, constants=NO_CACHE, **DECODER, head_dim=6)
gemma = loaded(
    "Gemma2ForCausalLM", "Gemma2Config", *MASKED, constants=NO_CACHE, **DECODER, head_dim=6, query_pre_attn_scalar=16,
    sliding_window=4,
)  # fmt: skip
mixtral = loaded("MixtralForCausalLM", "MixtralConfig", *MASKED, constants=NO_CACHE, **DECODER, num_local_experts=4)
modernbert = loaded(
    "ModernBertForMaskedLM", "ModernBertConfig",
    vocab_size=53, hidden_size=24, intermediate_size=44, num_hidden_layers=3, num_attention_heads=3,
    max_position_embeddings=32, pad_token_id=0, bos_token_id=1, eos_token_id=2, cls_token_id=1, sep_token_id=2,
    local_attention=4,
)  # fmt: skip


class Experts(nn.Module):
    """A mixture of experts in which every expert runs and the router weighs them: three stacked weights."""

    def __init__(self, experts: int = 4, width: int = 10, inner: int = 14) -> None:
        super().__init__()
        self.words = nn.Embedding(53, width)
        self.router = nn.Linear(width, experts, bias=False)
        self.gate = nn.Parameter(torch.empty(experts, width, inner))
        self.up = nn.Parameter(torch.empty(experts, width, inner))
        self.down = nn.Parameter(torch.empty(experts, inner, width))
        self.head = nn.Linear(width, 53, bias=False)

    def forward(self, ids: Tensor) -> Tensor:
        x = self.words(ids)
        share = self.router(x).softmax(-1)
        spread = x.flatten(0, 1).unsqueeze(0)
        inner = nn.functional.silu(spread @ self.gate) * (spread @ self.up)
        mixed = (inner @ self.down).unflatten(1, x.shape[:2]) * share.permute(2, 0, 1).unsqueeze(-1)
        return self.head(x + mixed.sum(0))


def text(*shape: int) -> Callable[[], tuple[Tensor, ...]]:
    return lambda: tuple(value + 3 for value in ids(50, *(shape or (2, 7))))


def masked() -> tuple[Tensor, ...]:
    """Tokens and an attention mask: without one, transformers looks for packed sequences in ways not exportable."""
    return (*text()(), torch.ones(2, 7, dtype=torch.long))


ROWS = {0: "batch", 1: "length"}

ARCHITECTURES: dict[str, Architecture] = {
    "gpt2": Architecture(gpt2, masked),
    "gpt2_dynamic": Architecture(gpt2, masked, dynamic=(ROWS, ROWS)),
    "bert": Architecture(bert, masked),
    "t5": Architecture(t5, lambda: (*text(2, 7)(), *text(2, 5)())),
    "t5_tied": Architecture(t5_tied, lambda: (*text(2, 7)(), *text(2, 5)())),
    "llama": Architecture(llama, masked),
    "llama_dynamic": Architecture(llama, masked, dynamic=(ROWS, ROWS)),
    "qwen3": Architecture(qwen, masked),
    "gemma2": Architecture(gemma, masked),
    "mixtral": Architecture(mixtral, masked),
    "experts": Architecture(Experts, text()),
    "vit": Architecture(vit, lambda: tensors((2, 3, 16, 16))),
    "whisper": Architecture(whisper, lambda: (*tensors((2, 10, 30)), *text(2, 5)())),
    "modernbert": Architecture(modernbert, text(2, 9)),
}
