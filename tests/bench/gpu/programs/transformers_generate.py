# SPDX-License-Identifier: Apache-2.0
"""transformers: a small Llama with random weights generates greedily, with its cache."""
import os

os.environ['HF_HUB_OFFLINE'] = '1'
from common import show, skip, torch_fixed  # noqa: E402

torch = torch_fixed()
try:
    from transformers import LlamaConfig, LlamaForCausalLM
except ImportError as problem:
    skip(problem)
config = LlamaConfig(hidden_size=256, intermediate_size=512, num_hidden_layers=4, num_attention_heads=8, num_key_value_heads=4, vocab_size=1000)
model = LlamaForCausalLM(config).cuda().eval()
prompt = torch.arange(1, 17, device='cuda').unsqueeze(0)
with torch.no_grad():
    tokens = model.generate(prompt, attention_mask=torch.ones_like(prompt), max_new_tokens=64, do_sample=False, pad_token_id=0)
assert tokens.shape == (1, 80), tokens.shape
show(tokens)
