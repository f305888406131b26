// The rival of the decoder: the same model in plain C, built with -O3 -march=native. `decode FILE BATCH PROMPT STEPS` reads
// the shape and float32 weights from FILE, feeds BATCH sequences PROMPT tokens and then draws STEPS more of each, STEPS
// times over for each line it reads; it answers with the processor time of a step in milliseconds and, first, with the
// logits of the first token drawn.
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static int vocab, context, d, layers, heads, kvHeads, hd, ffn;
static float theta, eps;

typedef struct {
  float *inputNorm, *qkv, *qNorm, *kNorm, *o, *mlpNorm, *gateUp, *down;
} Layer;

static float *take(FILE *file, size_t n) {
  float *values = aligned_alloc(64, (n * 4 + 63) / 64 * 64);
  if (fread(values, 4, n, file) != n) exit(1);
  return values;
}

// A matrix [out][in] turned into panels [out / 16][in][16], so that sums over `in` run in parallel lanes.
static float *takeMatrix(FILE *file, int out, int in) {
  float *rows = take(file, (size_t)out * in);
  int panels = (out + 63) / 64 * 4; // whole fours
  float *to = aligned_alloc(64, (size_t)panels * in * 64);
  memset(to, 0, (size_t)panels * in * 64);
  for (int o = 0; o < out; o++)
    for (int i = 0; i < in; i++) to[((size_t)(o / 16) * in + i) * 16 + o % 16] = rows[(size_t)o * in + i];
  free(rows);
  return to;
}

static void product4(int in, const float *x, int stride, const float *panel, float sums[4][16]) {
  float a[16] = {0}, b[16] = {0}, c[16] = {0}, e[16] = {0};
  for (int i = 0; i < in; i++)
    for (int l = 0; l < 16; l++) {
      float w = panel[i * 16 + l];
      a[l] += x[i] * w;
      b[l] += x[stride + i] * w;
      c[l] += x[2 * stride + i] * w;
      e[l] += x[3 * stride + i] * w;
    }
  memcpy(sums[0], a, 64);
  memcpy(sums[1], b, 64);
  memcpy(sums[2], c, 64);
  memcpy(sums[3], e, 64);
}

static void product1(int in, const float *x, const float *panels, float sums[4][16]) {
  float a[16] = {0}, b[16] = {0}, c[16] = {0}, e[16] = {0};
  const float *pb = panels + in * 16, *pc = pb + in * 16, *pe = pc + in * 16;
  for (int i = 0; i < in; i++)
    for (int l = 0; l < 16; l++) {
      a[l] += x[i] * panels[i * 16 + l];
      b[l] += x[i] * pb[i * 16 + l];
      c[l] += x[i] * pc[i * 16 + l];
      e[l] += x[i] * pe[i * 16 + l];
    }
  memcpy(sums[0], a, 64);
  memcpy(sums[1], b, 64);
  memcpy(sums[2], c, 64);
  memcpy(sums[3], e, 64);
}

// y[rows][out] = x[rows][in] W^T, or added to it.
static void linear(int rows, int out, int in, const float *x, const float *panels, float *y, int add) {
  float sums[4][16];
  int r = 0;
  for (; r + 4 <= rows; r += 4)
    for (int o = 0; o < out; o += 16) {
      product4(in, x + (size_t)r * in, in, panels + (size_t)o * in, sums);
      for (int k = 0; k < 4; k++)
        for (int l = 0; l < 16 && o + l < out; l++) {
          float *to = y + (size_t)(r + k) * out + o + l;
          *to = add ? *to + sums[k][l] : sums[k][l];
        }
    }
  for (; r < rows; r++)
    for (int o = 0; o < out; o += 64) {
      product1(in, x + (size_t)r * in, panels + (size_t)o * in, sums);
      for (int l = 0; l < 64 && o + l < out; l++) {
        float *to = y + (size_t)r * out + o + l;
        *to = add ? *to + (&sums[0][0])[l] : (&sums[0][0])[l];
      }
    }
}

static void norm(int n, const float *x, const float *gain, float *out) {
  float lanes[16] = {0}, sum = 0;
  for (int i = 0; i < n; i += 16)
    for (int l = 0; l < 16 && i + l < n; l++) lanes[l] += x[i + l] * x[i + l];
  for (int l = 0; l < 16; l++) sum += lanes[l];
  float s = 1 / sqrtf(sum / n + eps);
  for (int i = 0; i < n; i++) out[i] = x[i] * s * gain[i];
}

static void rotate(float *x, const float *gain, int position, const float *cosine, const float *sine) {
  norm(hd, x, gain, x);
  for (int i = 0; i < hd / 2; i++) {
    float a = x[i], b = x[hd / 2 + i];
    float c = cosine[(size_t)position * (hd / 2) + i], s = sine[(size_t)position * (hd / 2) + i];
    x[i] = a * c - b * s;
    x[hd / 2 + i] = b * c + a * s;
  }
}

int main(int argc, char **argv) {
  if (argc != 5) return 2;
  int batch = atoi(argv[2]), prompt = atoi(argv[3]), steps = atoi(argv[4]);
  FILE *file = fopen(argv[1], "rb");
  int32_t shape[8];
  float rest[2];
  if (!file || fread(shape, 4, 8, file) != 8 || fread(rest, 4, 2, file) != 2) return 1;
  vocab = shape[0], context = shape[1], d = shape[2], layers = shape[3];
  heads = shape[4], kvHeads = shape[5], hd = shape[6], ffn = shape[7];
  theta = rest[0], eps = rest[1];
  int q = heads * hd, kv = kvHeads * hd, wide = q + 2 * kv, slots = prompt + steps;
  float *embedding = take(file, (size_t)vocab * d);
  Layer *w = malloc(layers * sizeof(Layer));
  for (int l = 0; l < layers; l++) {
    w[l].inputNorm = take(file, d);
    w[l].qkv = takeMatrix(file, wide, d);
    w[l].qNorm = take(file, hd);
    w[l].kNorm = take(file, hd);
    w[l].o = takeMatrix(file, d, q);
    w[l].mlpNorm = take(file, d);
    w[l].gateUp = takeMatrix(file, 2 * ffn, d);
    w[l].down = takeMatrix(file, d, ffn);
  }
  float *finalNorm = take(file, d), *head = takeMatrix(file, vocab, d);
  float *cosine = malloc((size_t)slots * hd * 2), *sine = malloc((size_t)slots * hd * 2);
  for (int p = 0; p < slots; p++)
    for (int i = 0; i < hd / 2; i++) {
      float angle = p * powf(theta, -2.0f * i / hd);
      cosine[p * (hd / 2) + i] = cosf(angle);
      sine[p * (hd / 2) + i] = sinf(angle);
    }
  // keys [layer][batch][kvHead][hd][slot], values [layer][batch][kvHead][slot][hd]
  size_t cell = (size_t)slots * hd, row = cell * kvHeads, plane = row * batch;
  float *keys = calloc(plane * layers, 4), *values = calloc(plane * layers, 4);
  float *stream = malloc((size_t)batch * d * 4), *normed = malloc((size_t)batch * d * 4);
  float *qkv = malloc((size_t)batch * wide * 4), *attended = malloc((size_t)batch * q * 4);
  float *gateUp = malloc((size_t)batch * ffn * 8), *hidden = malloc((size_t)batch * ffn * 4);
  float *logits = malloc((size_t)batch * vocab * 4), *scores = malloc((size_t)slots * 4);
  int *tokens = malloc(batch * sizeof(int));
  float scale = 1 / sqrtf(hd);
  uint32_t random = 1;
  char line[16];
  puts("ready");
  fflush(stdout);
  while (fgets(line, sizeof line, stdin)) {
    double best = 1e9;
    for (int t = 0; t < slots; t++) {
      clock_t started = clock();
      for (int b = 0; b < batch; b++) {
        if (t < prompt) tokens[b] = (97 + t % 26) % vocab;
        memcpy(stream + (size_t)b * d, embedding + (size_t)tokens[b] * d, d * 4);
      }
      for (int l = 0; l < layers; l++) {
        for (int b = 0; b < batch; b++) norm(d, stream + b * d, w[l].inputNorm, normed + b * d);
        linear(batch, wide, d, normed, w[l].qkv, qkv, 0);
        for (int b = 0; b < batch; b++) {
          float *x = qkv + (size_t)b * wide;
          for (int h = 0; h < heads; h++) rotate(x + h * hd, w[l].qNorm, t, cosine, sine);
          for (int h = 0; h < kvHeads; h++) {
            rotate(x + q + h * hd, w[l].kNorm, t, cosine, sine);
            float *k = keys + l * plane + b * row + h * cell, *v = values + l * plane + b * row + h * cell;
            for (int i = 0; i < hd; i++) k[(size_t)i * slots + t] = x[q + h * hd + i];
            memcpy(v + (size_t)t * hd, x + q + kv + h * hd, hd * 4);
          }
          for (int h = 0; h < heads; h++) {
            size_t at = l * plane + b * row + (size_t)(h / (heads / kvHeads)) * cell;
            float *out = attended + (size_t)b * q + h * hd, top = -INFINITY, sum = 0;
            memset(scores, 0, (t + 1) * 4);
            for (int i = 0; i < hd; i++) {
              float a = x[h * hd + i] * scale, *k = keys + at + (size_t)i * slots;
              for (int s = 0; s <= t; s++) scores[s] += a * k[s];
            }
            for (int s = 0; s <= t; s++) top = scores[s] > top ? scores[s] : top;
            for (int s = 0; s <= t; s++) sum += scores[s] = expf(scores[s] - top);
            memset(out, 0, hd * 4);
            for (int s = 0; s <= t; s++) {
              float p = scores[s] / sum, *v = values + at + (size_t)s * hd;
              for (int i = 0; i < hd; i++) out[i] += p * v[i];
            }
          }
        }
        linear(batch, d, q, attended, w[l].o, stream, 1);
        for (int b = 0; b < batch; b++) norm(d, stream + b * d, w[l].mlpNorm, normed + b * d);
        linear(batch, 2 * ffn, d, normed, w[l].gateUp, gateUp, 0);
        for (int b = 0; b < batch; b++)
          for (int i = 0; i < ffn; i++) {
            float g = gateUp[(size_t)b * 2 * ffn + i];
            hidden[(size_t)b * ffn + i] = g / (1 + expf(-g)) * gateUp[(size_t)b * 2 * ffn + ffn + i];
          }
        linear(batch, d, ffn, hidden, w[l].down, stream, 1);
      }
      for (int b = 0; b < batch; b++) norm(d, stream + b * d, finalNorm, normed + b * d);
      linear(batch, vocab, d, normed, head, logits, 0);
      if (t == prompt - 1) {
        for (int i = 0; i < 8; i++) printf("%.6f ", logits[i]);
      }
      for (int b = 0; b < batch; b++) {
        float *z = logits + (size_t)b * vocab, top = -INFINITY;
        double sum = 0, walked = 0;
        for (int i = 0; i < vocab; i++) top = z[i] > top ? z[i] : top;
        for (int i = 0; i < vocab; i++) z[i] = expf(z[i] - top);
        for (int i = 0; i < vocab; i++) sum += z[i];
        random = random * 1664525 + 1013904223;
        double aim = random / 4294967296.0 * sum;
        tokens[b] = vocab - 1;
        for (int i = 0; i < vocab; i++)
          if ((walked += z[i]) > aim) {
            tokens[b] = i;
            break;
          }
      }
      double ms = (clock() - started) * 1000.0 / CLOCKS_PER_SEC;
      if (t >= prompt && ms < best) best = ms;
    }
    printf("%f\n", best);
    fflush(stdout);
  }
  return 0;
}
