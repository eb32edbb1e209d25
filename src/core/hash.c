#include "hash.h"

#include <sys/random.h>

#include "thread.h"

rsci_hash_key rsci_hash_key_create(void) {
  rsci_hash_key key;
  if (getrandom(&key, sizeof key, GRND_NONBLOCK) == (ssize_t)sizeof key)
    return key;
  /* Early at boot, or forbidden by a sandbox: what is left that differs from one process to the next. */
  key.words[0] = rsci_now_ns() * UINT64_C(0x9E3779B97F4A7C15);
  key.words[1] = (uint64_t)(uintptr_t)&key ^ (uint64_t)(uintptr_t)rsci_hash;
  return key;
}

typedef struct sip {
  uint64_t a, b, c, d;
} sip;

static uint64_t rotate(uint64_t word, unsigned bits) {
  return word << bits | word >> (64 - bits);
}

static void mix(sip *state, unsigned rounds) {
  for (; rounds > 0; rounds--) {
    state->a += state->b;
    state->c += state->d;
    state->b = rotate(state->b, 13) ^ state->a;
    state->d = rotate(state->d, 16) ^ state->c;
    state->a = rotate(state->a, 32) + state->d;
    state->c += state->b;
    state->d = rotate(state->d, 21) ^ state->a;
    state->b = rotate(state->b, 17) ^ state->c;
    state->c = rotate(state->c, 32);
  }
}

static void take(sip *state, uint64_t word) {
  state->d ^= word;
  mix(state, 2);
  state->a ^= word;
}

/* `size` bytes, at most eight, the first of them lowest. */
static uint64_t load(const unsigned char *bytes, size_t size) {
  uint64_t word = 0;
  for (size_t i = 0; i < size; i++)
    word |= (uint64_t)bytes[i] << 8 * i;
  return word;
}

uint64_t rsci_hash(const rsci_hash_key *key, const void *bytes, size_t size) {
  /* The text that the algorithm begins with: "somepseudorandomlygeneratedbytes". */
  sip state = {
      key->words[0] ^ UINT64_C(0x736F6D6570736575),
      key->words[1] ^ UINT64_C(0x646F72616E646F6D),
      key->words[0] ^ UINT64_C(0x6C7967656E657261),
      key->words[1] ^ UINT64_C(0x7465646279746573),
  };
  const unsigned char *at = bytes;
  size_t left = size;
  for (; left >= 8; left -= 8, at += 8)
    take(&state, load(at, 8));
  take(&state, load(at, left) | (uint64_t)size << 56);
  state.c ^= 0xFF;
  mix(&state, 4);
  return state.a ^ state.b ^ state.c ^ state.d;
}
