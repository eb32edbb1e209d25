#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "core/text.h"

/* Buffers end where their memory ends, so that ASan and Valgrind see a read or write too far. */

static void *exact(const void *bytes, size_t size) {
  void *copy = malloc(size);
  assert_true(copy != NULL || size == 0);
  if (size > 0)
    memcpy(copy, bytes, size);
  return copy;
}

static WCHAR *widened(const char *text, size_t size, size_t units) {
  WCHAR *wide = malloc(units * sizeof(WCHAR));
  assert_true(wide != NULL || units == 0);
  rsci_utf8_to_utf16(text, size, wide);
  return wide;
}

static char *narrowed(PCWSTR text, size_t units, size_t size) {
  char *bytes = malloc(size);
  assert_true(bytes != NULL || size == 0);
  rsci_utf16_to_utf8(text, units, bytes);
  return bytes;
}

static void expect_bytes(const char *bytes, size_t size, size_t units) {
  char *text = exact(bytes, size);
  assert_int_equal(rsci_utf8_valid(text, size), units != RSCI_MALFORMED);
  assert_int_equal(rsci_utf8_to_utf16_size(text, size), units);
  free(text);
}

static void expect_units(PCWSTR units, size_t count, size_t size) {
  WCHAR *text = exact(units, count * sizeof(WCHAR));
  assert_int_equal(rsci_utf16_to_utf8_size(text, count), size);
  free(text);
}

#define WELL_FORMED(literal, units) expect_bytes(literal, sizeof(literal) - 1, units)
#define MALFORMED(literal) expect_bytes(literal, sizeof(literal) - 1, RSCI_MALFORMED)

/* The naive reference: decodes by adding up bits and judges the code point afterwards. */

static bool naive_judge(uint32_t code) {
  return code <= 0x10FFFF && !(code >= 0xD800 && code <= 0xDFFF);
}

static size_t naive_encode(uint32_t code, char out[4]) {
  size_t size = code < 0x80 ? 1 : code < 0x800 ? 2 : code < 0x10000 ? 3 : 4;
  static const unsigned leads[] = {0, 0, 0xC0, 0xE0, 0xF0};
  for (size_t i = size; i-- > 1;) {
    out[i] = (char)(0x80 + code % 64);
    code /= 64;
  }
  out[0] = (char)(leads[size] + code);
  return size;
}

static size_t naive_units(uint32_t code, WCHAR out[2]) {
  if (code < 0x10000) {
    out[0] = (WCHAR)code;
    return 1;
  }
  out[0] = (WCHAR)(0xD800 + (code - 0x10000) / 1024);
  out[1] = (WCHAR)(0xDC00 + (code - 0x10000) % 1024);
  return 2;
}

/* Code units written to `out`, or RSCI_MALFORMED. */
static size_t naive_utf8_to_utf16(const unsigned char *text, size_t size, WCHAR *out) {
  size_t units = 0;
  for (size_t at = 0; at < size;) {
    unsigned ones = 0;
    while (ones < 8 && (text[at] << ones & 0x80))
      ones++;
    if (ones == 1 || ones > 4)
      return RSCI_MALFORMED;
    size_t length = ones == 0 ? 1 : ones;
    if (length > size - at)
      return RSCI_MALFORMED;
    uint32_t code = ones == 0 ? text[at] : text[at] % (1u << (7 - ones));
    for (size_t i = 1; i < length; i++) {
      if (text[at + i] / 64 != 2)
        return RSCI_MALFORMED;
      code = code * 64 + text[at + i] % 64;
    }
    /* Overlong is what would have been shorter. */
    char shortest[4];
    if (!naive_judge(code) || naive_encode(code, shortest) != length)
      return RSCI_MALFORMED;
    units += naive_units(code, out + units);
    at += length;
  }
  return units;
}

/* Bytes written to `out`, or RSCI_MALFORMED. */
static size_t naive_utf16_to_utf8(PCWSTR text, size_t units, char *out) {
  size_t size = 0;
  for (size_t at = 0; at < units; at++) {
    uint32_t code = text[at];
    if (at + 1 < units && code / 1024 == 0xD800 / 1024 && text[at + 1] / 1024 == 0xDC00 / 1024) {
      at++;
      code = 0x10000 + (code - 0xD800) * 1024 + (text[at] - 0xDC00u);
    }
    if (!naive_judge(code))
      return RSCI_MALFORMED;
    size += naive_encode(code, out + size);
  }
  return size;
}

/* Random numbers that are the same on every run and every machine (xorshift64*). */
static uint64_t seed;

static uint32_t below(uint32_t limit) {
  seed ^= seed >> 12;
  seed ^= seed << 25;
  seed ^= seed >> 27;
  return (uint32_t)(seed * UINT64_C(0x2545F4914F6CDD1D) >> 32) % limit;
}

/* Length. */

static void test_utf16_length_any_text_stops_at_nul(void **state) {
  (void)state;
  for (size_t units = 0; units < 40; units++) {
    WCHAR *text = malloc((units + 1) * sizeof(WCHAR));
    assert_non_null(text);
    for (size_t i = 0; i < units; i++)
      text[i] = (WCHAR)(0x100 * (i + 1)); /* units with a zero byte are not the end */
    text[units] = 0;
    assert_int_equal(rsci_utf16_length(text), units);
    free(text);
  }
}

/* Well-formed text. */

static void test_text_empty_is_well_formed(void **state) {
  (void)state;
  assert_true(rsci_utf8_valid("", 0));
  assert_true(rsci_utf8_valid(NULL, 0));
  assert_int_equal(rsci_utf8_to_utf16_size(NULL, 0), 0);
  assert_int_equal(rsci_utf16_to_utf8_size(NULL, 0), 0);
  rsci_utf8_to_utf16(NULL, 0, NULL);
  rsci_utf16_to_utf8(NULL, 0, NULL);
}

static void test_text_nul_is_a_character(void **state) {
  (void)state;
  WELL_FORMED("\0", 1);
  WELL_FORMED("a\0b", 3);
  WELL_FORMED("abcd\0efghijk\0", 13);
  expect_units((const WCHAR[]){'a', 0, 'b'}, 3, 3);
  WCHAR *wide = widened("a\0\xC2\x80", 4, 3);
  assert_memory_equal(wide, ((const WCHAR[]){'a', 0, 0x80}), 6);
  free(wide);
}

static void test_text_known_pairs_convert(void **state) {
  (void)state;
  static const char bytes[] = "A\xC2\xA2\xE2\x82\xAC\xF0\x90\x8D\x88";
  static const WCHAR units[] = {'A', 0xA2, 0x20AC, 0xD800, 0xDF48};
  WELL_FORMED("A\xC2\xA2\xE2\x82\xAC\xF0\x90\x8D\x88", 5);
  expect_units(units, 5, 10);
  WCHAR *wide = widened(bytes, 10, 5);
  assert_memory_equal(wide, units, sizeof units);
  char *narrow = narrowed(units, 5, 10);
  assert_memory_equal(narrow, bytes, 10);
  free(wide);
  free(narrow);
}

static void test_text_every_code_point_round_trips(void **state) {
  (void)state;
  for (uint32_t code = 1; code <= 0x10FFFF; code++) {
    if (!naive_judge(code))
      continue;
    char bytes[4];
    char narrow[4];
    WCHAR units[2];
    WCHAR wide[2];
    size_t size = naive_encode(code, bytes);
    size_t count = naive_units(code, units);
    /* One comparison for all: a million code points times CMocka's own checks take too long under Valgrind. */
    bool same = rsci_utf8_valid(bytes, size) && rsci_utf8_to_utf16_size(bytes, size) == count &&
                rsci_utf16_to_utf8_size(units, count) == size;
    if (same) {
      rsci_utf8_to_utf16(bytes, size, wide);
      rsci_utf16_to_utf8(units, count, narrow);
      same = memcmp(wide, units, count * sizeof(WCHAR)) == 0 && memcmp(narrow, bytes, size) == 0;
    }
    if (!same)
      fail_msg("U+%04X", (unsigned)code);
  }
}

static void test_text_all_lengths_and_alignments_round_trip(void **state) {
  (void)state;
  for (size_t length = 0; length <= 33; length++) {
    for (size_t offset = 0; offset < 8; offset++) {
      char *memory = malloc(offset + length + 1);
      WCHAR *wide = malloc((offset + length + 1) * sizeof(WCHAR));
      assert_true(memory && wide);
      for (size_t i = 0; i < length; i++)
        memory[offset + i] = (char)('!' + i);
      /* The byte and the unit behind the text belong to someone else. */
      memory[offset + length] = '\x7F';
      wide[offset + length] = 0xDEAD;
      assert_true(rsci_utf8_valid(memory + offset, length));
      assert_int_equal(rsci_utf8_to_utf16_size(memory + offset, length), length);
      rsci_utf8_to_utf16(memory + offset, length, wide + offset);
      for (size_t i = 0; i < length; i++)
        assert_int_equal(wide[offset + i], '!' + i);
      assert_int_equal(wide[offset + length], 0xDEAD);

      memset(memory + offset, 0, length);
      assert_int_equal(rsci_utf16_to_utf8_size(wide + offset, length), length);
      rsci_utf16_to_utf8(wide + offset, length, memory + offset);
      for (size_t i = 0; i < length; i++)
        assert_int_equal(memory[offset + i], '!' + i);
      assert_int_equal(memory[offset + length], '\x7F');
      free(memory);
      free(wide);
    }
  }
}

/* A character of each width at each place of an ASCII text, which breaks the words anywhere. */
static void test_text_wide_character_anywhere_round_trips(void **state) {
  (void)state;
  static const uint32_t codes[] = {0x7F, 0x80, 0xFF, 0x100, 0x7FF, 0x800, 0xD7FF, 0xE000, 0xFFFF, 0x10000, 0x10FFFF};
  for (size_t c = 0; c < sizeof codes / sizeof codes[0]; c++) {
    for (size_t before = 0; before <= 18; before++) {
      for (size_t after = 0; after <= 18; after++) {
        char bytes[40];
        WCHAR units[40];
        memset(bytes, 'x', sizeof bytes);
        for (size_t i = 0; i < 40; i++)
          units[i] = 'x';
        size_t size = before + naive_encode(codes[c], bytes + before) + after;
        size_t count = before + naive_units(codes[c], units + before) + after;
        for (size_t i = size - after; i < size; i++)
          bytes[i] = 'x';
        expect_bytes(bytes, size, count);
        expect_units(units, count, size);
        char *text = exact(bytes, size);
        WCHAR *wide = widened(text, size, count);
        assert_memory_equal(wide, units, count * sizeof(WCHAR));
        char *narrow = narrowed(wide, count, size);
        assert_memory_equal(narrow, bytes, size);
        free(text);
        free(wide);
        free(narrow);
      }
    }
  }
}

/* Malformed UTF-8. */

static void test_utf8_overlong_is_malformed(void **state) {
  (void)state;
  MALFORMED("\xC0\x80");
  MALFORMED("\xC0\xAF");
  MALFORMED("\xC1\xBF");
  WELL_FORMED("\xC2\x80", 1);
  MALFORMED("\xE0\x80\x80");
  MALFORMED("\xE0\x80\xAF");
  MALFORMED("\xE0\x9F\xBF");
  WELL_FORMED("\xE0\xA0\x80", 1);
  MALFORMED("\xF0\x80\x80\x80");
  MALFORMED("\xF0\x80\x80\xAF");
  MALFORMED("\xF0\x8F\xBF\xBF");
  WELL_FORMED("\xF0\x90\x80\x80", 2);
}

static void test_utf8_impossible_lead_is_malformed(void **state) {
  (void)state;
  static const unsigned leads[] = {0xC0, 0xC1, 0xF5, 0xF6, 0xF7, 0xF8, 0xF9, 0xFA, 0xFB, 0xFC, 0xFD, 0xFE, 0xFF};
  for (size_t i = 0; i < sizeof leads / sizeof leads[0]; i++) {
    char text[] = {(char)leads[i], '\x90', '\x80', '\x80', '\x80', '\x80'};
    for (size_t size = 1; size <= sizeof text; size++)
      expect_bytes(text, size, RSCI_MALFORMED);
  }
}

static void test_utf8_truncated_is_malformed(void **state) {
  (void)state;
  static const char *const whole[] = {"\xC2\x80",     "\xDF\xBF",         "\xE0\xA0\x80",     "\xED\x9F\xBF",
                                      "\xEF\xBF\xBF", "\xF0\x90\x80\x80", "\xF1\x80\x80\x80", "\xF4\x8F\xBF\xBF"};
  for (size_t i = 0; i < sizeof whole / sizeof whole[0]; i++) {
    size_t size = strlen(whole[i]);
    expect_bytes(whole[i], size, size == 4 ? 2 : 1);
    for (size_t cut = 1; cut < size; cut++) {
      /* At the end, before ASCII, and before another lead. */
      char text[8];
      memcpy(text, whole[i], cut);
      expect_bytes(text, cut, RSCI_MALFORMED);
      text[cut] = 'a';
      text[cut + 1] = 'b';
      text[cut + 2] = 'c';
      expect_bytes(text, cut + 1, RSCI_MALFORMED);
      expect_bytes(text, cut + 3, RSCI_MALFORMED);
      memcpy(text + cut, "\xC2\x80", 2);
      expect_bytes(text, cut + 2, RSCI_MALFORMED);
    }
  }
}

static void test_utf8_stray_continuation_is_malformed(void **state) {
  (void)state;
  for (unsigned byte = 0x80; byte <= 0xBF; byte++) {
    expect_bytes((const char[]){(char)byte}, 1, RSCI_MALFORMED);
    expect_bytes((const char[]){'a', (char)byte}, 2, RSCI_MALFORMED);
  }
  MALFORMED("\xC2\x80\x80");
  MALFORMED("\xE2\x82\xAC\x80");
  MALFORMED("\xF0\x90\x8D\x88\x80");
}

static void test_utf8_encoded_surrogate_is_malformed(void **state) {
  (void)state;
  WELL_FORMED("\xED\x9F\xBF", 1);
  MALFORMED("\xED\xA0\x80");             /* D800 */
  MALFORMED("\xED\xAF\xBF");             /* DBFF */
  MALFORMED("\xED\xB0\x80");             /* DC00 */
  MALFORMED("\xED\xBF\xBF");             /* DFFF */
  MALFORMED("\xED\xA0\x80\xED\xB0\x80"); /* CESU-8 */
  WELL_FORMED("\xEE\x80\x80", 1);
}

static void test_utf8_above_10ffff_is_malformed(void **state) {
  (void)state;
  WELL_FORMED("\xF4\x8F\xBF\xBF", 2);
  MALFORMED("\xF4\x90\x80\x80");
  MALFORMED("\xF4\xBF\xBF\xBF");
  MALFORMED("\xF5\x80\x80\x80");
}

/* Every second byte after every lead, and every later byte: the borders of each range are found whatever they are. */
static void test_utf8_every_second_and_later_byte_is_judged(void **state) {
  (void)state;
  for (unsigned lead = 0x80; lead <= 0xFF; lead++) {
    for (unsigned byte = 0; byte <= 0xFF; byte++) {
      for (size_t place = 1; place < 4; place++) {
        /* A second byte of 90 suits any lead but E0 and F4. */
        unsigned char text[] = {(unsigned char)lead, lead == 0xE0 ? 0xA0 : lead == 0xF4 ? 0x80 : 0x90, 0x80, 0x80};
        text[place] = (unsigned char)byte;
        for (size_t size = place + 1; size <= 4; size++) {
          WCHAR units[4];
          size_t expected = naive_utf8_to_utf16(text, size, units);
          assert_int_equal(rsci_utf8_to_utf16_size((const char *)text, size), expected);
        }
      }
    }
  }
}

static void test_utf8_malformed_byte_anywhere_is_found(void **state) {
  (void)state;
  static const unsigned bad[] = {0x80, 0xBF, 0xC0, 0xC1, 0xC2, 0xE2, 0xED, 0xF0, 0xF4, 0xF5, 0xFF};
  char text[40];
  for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
    for (size_t place = 0; place < sizeof text; place++) {
      memset(text, 'x', sizeof text);
      text[place] = (char)bad[i];
      expect_bytes(text, sizeof text, RSCI_MALFORMED);
      expect_bytes(text, place + 1, RSCI_MALFORMED);
      expect_bytes(text, place, place);
    }
  }
}

/* Malformed UTF-16. */

static void test_utf16_lone_high_at_end_is_malformed(void **state) {
  (void)state;
  expect_units((const WCHAR[]){0xD800}, 1, RSCI_MALFORMED);
  expect_units((const WCHAR[]){0xDBFF}, 1, RSCI_MALFORMED);
  expect_units((const WCHAR[]){'a', 0xD800}, 2, RSCI_MALFORMED);
  expect_units((const WCHAR[]){0xD800, 0xDC00, 0xD800}, 3, RSCI_MALFORMED);
}

static void test_utf16_high_before_non_low_is_malformed(void **state) {
  (void)state;
  static const WCHAR next[] = {0, 'a', 0x80, 0x20AC, 0xD7FF, 0xD800, 0xDBFF, 0xE000, 0xFFFF};
  for (size_t i = 0; i < sizeof next / sizeof next[0]; i++) {
    expect_units((const WCHAR[]){0xD800, next[i]}, 2, RSCI_MALFORMED);
    expect_units((const WCHAR[]){0xDBFF, next[i]}, 2, RSCI_MALFORMED);
  }
  expect_units((const WCHAR[]){0xD800, 0xD800, 0xDC00}, 3, RSCI_MALFORMED);
}

static void test_utf16_lone_low_is_malformed(void **state) {
  (void)state;
  expect_units((const WCHAR[]){0xDC00}, 1, RSCI_MALFORMED);
  expect_units((const WCHAR[]){0xDFFF}, 1, RSCI_MALFORMED);
  expect_units((const WCHAR[]){0xDC00, 0xD800}, 2, RSCI_MALFORMED);
  expect_units((const WCHAR[]){0xD800, 0xDC00, 0xDC00}, 3, RSCI_MALFORMED);
}

static void test_utf16_every_unit_alone_is_judged(void **state) {
  (void)state;
  for (uint32_t unit = 0; unit <= 0xFFFF; unit++) {
    char bytes[4];
    WCHAR text = (WCHAR)unit;
    size_t expected = naive_judge(unit) ? naive_encode(unit, bytes) : RSCI_MALFORMED;
    if (rsci_utf16_to_utf8_size(&text, 1) != expected)
      fail_msg("%04X", (unsigned)unit);
  }
}

static void test_utf16_malformed_unit_anywhere_is_found(void **state) {
  (void)state;
  static const WCHAR bad[] = {0xD800, 0xDBFF, 0xDC00, 0xDFFF};
  WCHAR text[40];
  for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
    for (size_t place = 0; place < 40; place++) {
      for (size_t k = 0; k < 40; k++)
        text[k] = 'x';
      text[place] = bad[i];
      expect_units(text, 40, RSCI_MALFORMED);
      expect_units(text, place + 1, RSCI_MALFORMED);
      expect_units(text, place, place);
    }
  }
}

/* Random text against the reference. */

/* Mostly well formed, in runs, with a wrong byte now and then: pure noise would be malformed within two bytes. */
static size_t random_bytes(unsigned char *text, size_t room) {
  size_t wanted = below((uint32_t)room - 3);
  size_t size = 0;
  while (size < wanted) {
    static const uint32_t limits[] = {0x80, 0x80, 0x80, 0x800, 0x10000, 0x110000};
    uint32_t code = below(limits[below(6)]);
    if (naive_judge(code) || below(8) == 0)
      size += naive_encode(code, (char *)text + size);
  }
  if (size > 0 && below(3) == 0)
    text[below((uint32_t)size)] = (unsigned char)below(256);
  if (size > 0 && below(6) == 0)
    size--;
  return size;
}

static size_t random_units(WCHAR *text, size_t room) {
  size_t wanted = below((uint32_t)room - 1);
  size_t units = 0;
  while (units < wanted) {
    static const uint32_t limits[] = {0x80, 0x80, 0x80, 0x800, 0x10000, 0x110000};
    uint32_t code = below(limits[below(6)]);
    if (naive_judge(code))
      units += naive_units(code, text + units);
  }
  if (units > 0 && below(3) == 0)
    text[below((uint32_t)units)] = (WCHAR)(0xD800 + below(0x800));
  if (units > 0 && below(6) == 0)
    units--;
  return units;
}

static void test_utf8_random_text_agrees_with_reference(void **state) {
  (void)state;
  seed = 0x5EED;
  size_t well_formed = 0;
  size_t malformed = 0;
  for (unsigned round = 0; round < 200000; round++) {
    unsigned char bytes[48];
    WCHAR units[48];
    size_t size = random_bytes(bytes, sizeof bytes);
    size_t expected = naive_utf8_to_utf16(bytes, size, units);
    char *text = exact(bytes, size);
    assert_int_equal(rsci_utf8_valid(text, size), expected != RSCI_MALFORMED);
    assert_int_equal(rsci_utf8_to_utf16_size(text, size), expected);
    if (expected == RSCI_MALFORMED) {
      malformed++;
    } else {
      well_formed++;
      WCHAR *wide = widened(text, size, expected);
      if (expected > 0)
        assert_memory_equal(wide, units, expected * sizeof(WCHAR));
      free(wide);
    }
    free(text);
  }
  assert_true(well_formed > 20000);
  assert_true(malformed > 20000);
}

static void test_utf16_random_text_agrees_with_reference(void **state) {
  (void)state;
  seed = 0x5EED16;
  size_t well_formed = 0;
  size_t malformed = 0;
  for (unsigned round = 0; round < 200000; round++) {
    WCHAR units[24];
    char bytes[24 * 3];
    size_t count = random_units(units, 24);
    size_t expected = naive_utf16_to_utf8(units, count, bytes);
    WCHAR *text = exact(units, count * sizeof(WCHAR));
    assert_int_equal(rsci_utf16_to_utf8_size(text, count), expected);
    if (expected == RSCI_MALFORMED) {
      malformed++;
    } else {
      well_formed++;
      char *narrow = narrowed(text, count, expected);
      if (expected > 0)
        assert_memory_equal(narrow, bytes, expected);
      free(narrow);
    }
    free(text);
  }
  assert_true(well_formed > 20000);
  assert_true(malformed > 20000);
}

int main(void) {
  static const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_utf16_length_any_text_stops_at_nul),
      cmocka_unit_test(test_text_empty_is_well_formed),
      cmocka_unit_test(test_text_nul_is_a_character),
      cmocka_unit_test(test_text_known_pairs_convert),
      cmocka_unit_test(test_text_every_code_point_round_trips),
      cmocka_unit_test(test_text_all_lengths_and_alignments_round_trip),
      cmocka_unit_test(test_text_wide_character_anywhere_round_trips),
      cmocka_unit_test(test_utf8_overlong_is_malformed),
      cmocka_unit_test(test_utf8_impossible_lead_is_malformed),
      cmocka_unit_test(test_utf8_truncated_is_malformed),
      cmocka_unit_test(test_utf8_stray_continuation_is_malformed),
      cmocka_unit_test(test_utf8_encoded_surrogate_is_malformed),
      cmocka_unit_test(test_utf8_above_10ffff_is_malformed),
      cmocka_unit_test(test_utf8_every_second_and_later_byte_is_judged),
      cmocka_unit_test(test_utf8_malformed_byte_anywhere_is_found),
      cmocka_unit_test(test_utf16_lone_high_at_end_is_malformed),
      cmocka_unit_test(test_utf16_high_before_non_low_is_malformed),
      cmocka_unit_test(test_utf16_lone_low_is_malformed),
      cmocka_unit_test(test_utf16_every_unit_alone_is_judged),
      cmocka_unit_test(test_utf16_malformed_unit_anywhere_is_found),
      cmocka_unit_test(test_utf8_random_text_agrees_with_reference),
      cmocka_unit_test(test_utf16_random_text_agrees_with_reference),
  };
  return cmocka_run_group_tests_name("text", tests, NULL, NULL);
}
