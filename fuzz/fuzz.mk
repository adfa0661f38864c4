# Fuzzers: fuzz/fuzz_NAME.c says by LINK: and LIBS: lines what it is linked
# with, as the unit tests do. The variant says with which engine:
#	afl, cmplog	AFL++, and its second build that looks at comparisons
#	libfuzzer
#	coverage	source-based coverage of clang
#	any other	none: it replays the files that it is given
#
#	fuzzers			builds them
#	fuzz TIME=1h		runs them all, fuzz-NAME one of them; in
#				upper case too
#	fuzz-replay		the corpus and every past crash
#	fuzz-coverage		what the corpus reaches of each parser
#	fuzz-merge		takes what fuzz has found into the corpus

FUZZ_ENGINE = $(if $(filter afl cmplog libfuzzer,$(VARIANT)),-fsanitize=fuzzer)

$(B)/fuzz/fuzz_%: $(B)/fuzz/fuzz_%.o $(B)/fuzz/fuzz.o
	$(CC) $(LDHARDEN) $(LDFLAGS) $(FUZZ_ENGINE) -o $@ \
	    $(filter %.o %.a,$^) \
	    $(shell sed -n 's,.*LIBS: \(.*\) \*/.*,\1,p' fuzz/fuzz_$*.c) \
	    $(LIBS)

define fuzz_rule
$(B)/fuzz/fuzz_$(1): $$(addprefix $(B)/,\
    $(shell sed -n 's,.*LINK: \(.*\) \*/.*,\1,p' fuzz/fuzz_$(1).c)) \
    $(if $(FUZZ_ENGINE),,$(B)/fuzz/replay.o)
endef
$(foreach f,$(FUZZERS),$(eval $(call fuzz_rule,$(f))))

# The tunnel process's object, its main under another name.
$(B)/fuzz/tunnel-main.o: $(B)/tunnel/tunnel.o
	@mkdir -p $(@D)
	objcopy --redefine-sym main=tunnel_main $< $@

fuzzers: $(addprefix $(B)/fuzz/fuzz_,$(FUZZERS))

fuzz-replay: fuzzers
	@fuzz/replay $(B)

fuzz $(FUZZ_ONE):
	@./packages.sh fuzz
	@fuzz/run $(if $(TIME),-t $(TIME)) \
	    $(shell echo "$(filter-out fuzz,$(@:fuzz-%=%))" | tr A-Z a-z)

fuzz-coverage:
	@./packages.sh fuzz
	@fuzz/coverage

fuzz-merge:
	@./packages.sh fuzz
	@fuzz/merge

.PHONY: fuzzers fuzz-replay
