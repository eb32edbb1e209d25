#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdbool.h>
#include <string.h>
#include <sys/types.h>

#include "core/hash.h"

/* The key and the message of the algorithm's own paper, 00 01 02 ..., of three lengths. */
static void test_hash_is_that_of_the_paper(void **state) {
  (void)state;
  const rsci_hash_key key = {{UINT64_C(0x0706050403020100), UINT64_C(0x0F0E0D0C0B0A0908)}};
  unsigned char message[15];
  for (unsigned char i = 0; i < sizeof message; i++)
    message[i] = i;
  assert_true(rsci_hash(&key, message, 0) == UINT64_C(0x726FDB47DD0E0E31));
  assert_true(rsci_hash(&key, message, 1) == UINT64_C(0x74F839C593DC67FD));
  assert_true(rsci_hash(&key, message, 15) == UINT64_C(0xA129CA6149BE45E5));
}

/* Every byte counts, wherever it stands, and so does every bit of the key. */
static void test_hash_changes_with_each_byte_and_each_bit_of_the_key(void **state) {
  (void)state;
  rsci_hash_key key = {{1, 2}};
  char text[24];
  memset(text, 'x', sizeof text);
  uint64_t plain = rsci_hash(&key, text, sizeof text);
  for (size_t i = 0; i < sizeof text; i++) {
    text[i] = 'y';
    assert_true(rsci_hash(&key, text, sizeof text) != plain);
    text[i] = 'x';
    assert_true(rsci_hash(&key, text, i) != plain);
  }
  for (size_t bit = 0; bit < 128; bit++) {
    key.words[bit / 64] ^= UINT64_C(1) << bit % 64;
    assert_true(rsci_hash(&key, text, sizeof text) != plain);
    key.words[bit / 64] ^= UINT64_C(1) << bit % 64;
  }
  assert_true(rsci_hash(&key, text, sizeof text) == plain);
}

static void test_keys_differ(void **state) {
  (void)state;
  rsci_hash_key one = rsci_hash_key_create(), other = rsci_hash_key_create();
  assert_memory_not_equal(&one, &other, sizeof one);
}

/* What the system's source of randomness answers: the linker puts this in front of it. */
static bool refused;
ssize_t __real_getrandom(void *buffer, size_t size, unsigned flags);
ssize_t __wrap_getrandom(void *buffer, size_t size, unsigned flags);
ssize_t __wrap_getrandom(void *buffer, size_t size, unsigned flags) {
  return refused ? -1 : __real_getrandom(buffer, size, flags);
}

static void test_key_without_randomness_is_still_a_key(void **state) {
  (void)state;
  refused = true;
  rsci_hash_key key = rsci_hash_key_create();
  refused = false;
  assert_true(key.words[0] != 0 && key.words[1] != 0);
}

int main(void) {
  static const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_hash_is_that_of_the_paper),
      cmocka_unit_test(test_hash_changes_with_each_byte_and_each_bit_of_the_key),
      cmocka_unit_test(test_keys_differ),
      cmocka_unit_test(test_key_without_randomness_is_still_a_key),
  };
  return cmocka_run_group_tests_name("hash", tests, NULL, NULL);
}
