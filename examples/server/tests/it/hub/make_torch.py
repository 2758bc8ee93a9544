"""Makes tiny models of three libraries, as each of them writes its own: folders `bert`, `sentences`, `pipeline`."""

from pathlib import Path

import torch
from diffusers import DDPMPipeline, DDPMScheduler, UNet2DModel
from sentence_transformers import SentenceTransformer, models
from transformers import BertConfig, BertModel, BertTokenizer

torch.manual_seed(1)
words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "hello", "world", "##s"]
Path("vocab.txt").write_text("\n".join(words) + "\n")
config = BertConfig(vocab_size=len(words), hidden_size=8, num_hidden_layers=1, num_attention_heads=1,
                    intermediate_size=8, max_position_embeddings=16)
BertModel(config).save_pretrained("bert")
BertTokenizer("vocab.txt").save_pretrained("bert")

transformer = models.Transformer("bert", max_seq_length=16)
SentenceTransformer(modules=[transformer, models.Pooling(8)], device="cpu").save("sentences", create_model_card=False)

unet = UNet2DModel(sample_size=4, in_channels=1, out_channels=1, layers_per_block=1, block_out_channels=(4, 4),
                   norm_num_groups=1, attention_head_dim=4, down_block_types=("DownBlock2D", "DownBlock2D"),
                   up_block_types=("UpBlock2D", "UpBlock2D"))
DDPMPipeline(unet, DDPMScheduler(num_train_timesteps=2)).save_pretrained("pipeline")
print("made")
