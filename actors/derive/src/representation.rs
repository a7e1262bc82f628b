//! Which of serde's attributes a message that crosses nodes cannot have.

use syn::punctuated::Punctuated;
use syn::{Attribute, Data, DeriveInput, Error, Fields, Meta, Result, Token, Variant};

/// Refuses the attributes of serde's with which a message could not be encoded, could not be decoded,
/// or would be taken for another one: the format writes fields by their order and variants by their
/// number, and nothing that tells what comes next. All of them are told at once.
///
/// What the fields' own types are like cannot be seen here. Those are refused when they are encoded or
/// decoded.
pub(crate) fn check(input: &DeriveInput) -> Result<()> {
    let container = SerdeAttributes::of(&input.attrs);
    // Then another type is what is encoded and decoded.
    if container.find("into").is_some()
        && (container.find("from").is_some() || container.find("try_from").is_some())
    {
        return Ok(());
    }
    let mut faults = Faults::default();
    faults.refuse(
        container.find("untagged"),
        "`untagged` cannot cross nodes: its bytes do not tell which variant they are; leave it out, for \
         serde's own default tells it in one byte",
    );
    faults.refuse(
        container.find("tag"),
        "`tag` cannot cross nodes: who decodes would have to look for the tag's name, which is not \
         written; leave it out, for serde's own default tells the variant in one byte",
    );
    match &input.data {
        Data::Struct(data) => fields(&data.fields, &mut faults),
        Data::Enum(data) => {
            for variant in &data.variants {
                faults.refuse(
                    SerdeAttributes::of(&variant.attrs).find("untagged"),
                    "`untagged` cannot cross nodes: its bytes do not tell which variant they are; \
                     leave it out",
                );
                fields(&variant.fields, &mut faults);
            }
            skipped_variants(data.variants.iter(), &mut faults);
        }
        Data::Union(_) => {}
    }
    faults.into_result()
}

fn fields(fields: &Fields, faults: &mut Faults) {
    for field in fields {
        let attributes = SerdeAttributes::of(&field.attrs);
        faults.refuse(
            attributes.find("flatten"),
            "`flatten` cannot cross nodes: fields are known by their order, so those of another type \
             cannot be mixed in; leave it out, which costs no byte",
        );
        let skip = attributes.find("skip");
        let (written, read) =
            (attributes.find("skip_serializing"), attributes.find("skip_deserializing"));
        if skip.is_some() || (written.is_some() && read.is_some()) {
            continue;
        }
        faults.refuse(
            attributes.find("skip_serializing_if"),
            "`skip_serializing_if` cannot cross nodes: fields are known by their order, so none can be \
             missing; leave it out, for an empty `Option` takes one byte",
        );
        faults.refuse(
            written.or(read),
            "a field that is skipped on one side only cannot cross nodes: the other side would take \
             the next one for it; write `skip`, or leave it out",
        );
    }
}

/// serde numbers the variants that it writes among all, and those that it reads among those that are
/// not skipped: what follows a skipped one would be taken for another.
fn skipped_variants<'a>(
    variants: impl DoubleEndedIterator<Item = &'a Variant>,
    faults: &mut Faults,
) {
    let mut last = true;
    for variant in variants.rev() {
        let attributes = SerdeAttributes::of(&variant.attrs);
        let skipped = attributes.find("skip").or_else(|| attributes.find("skip_deserializing"));
        if !last {
            faults.refuse(
                skipped,
                "a variant that is skipped cannot stand before others in a message that crosses \
                 nodes: they would be taken for one another; put it last, or leave `skip` out",
            );
        }
        last &= skipped.is_some();
    }
}

/// What stands in `#[serde(..)]`.
struct SerdeAttributes(Vec<Meta>);

impl SerdeAttributes {
    fn of(attributes: &[Attribute]) -> Self {
        let serde = attributes.iter().filter(|attribute| attribute.path().is_ident("serde"));
        let parsed = serde.filter_map(|attribute| {
            let parser = Punctuated::<Meta, Token![,]>::parse_terminated;
            // What cannot be read is serde's to refuse.
            attribute.parse_args_with(parser).ok()
        });
        Self(parsed.flatten().collect())
    }

    fn find(&self, name: &str) -> Option<&Meta> {
        self.0.iter().find(|meta| meta.path().is_ident(name))
    }
}

/// All that was found wrong.
#[derive(Default)]
struct Faults(Option<Error>);

impl Faults {
    fn refuse(&mut self, found: Option<&Meta>, why: &str) {
        let Some(meta) = found else { return };
        let error = Error::new_spanned(meta, why);
        match &mut self.0 {
            Some(faults) => faults.combine(error),
            None => self.0 = Some(error),
        }
    }

    fn into_result(self) -> Result<()> {
        self.0.map_or(Ok(()), Err)
    }
}

#[cfg(test)]
mod tests {
    use syn::parse_quote;

    use super::*;

    fn faults(input: DeriveInput) -> Vec<String> {
        let faults = check(&input).err().into_iter().flatten();
        faults.map(|fault| fault.to_string()).collect()
    }

    #[test]
    fn what_cannot_be_carried_is_refused_by_name() {
        for (input, named) in [
            (
                parse_quote!(
                    #[serde(untagged)]
                    enum M {
                        A(u8),
                    }
                ),
                "`untagged`",
            ),
            (
                parse_quote!(
                    #[serde(rename_all = "snake_case", tag = "t")]
                    enum M {
                        A(u8),
                    }
                ),
                "`tag`",
            ),
            (
                parse_quote!(
                    #[serde(tag = "t", content = "c")]
                    enum M {
                        A(u8),
                    }
                ),
                "`tag`",
            ),
            (
                parse_quote!(
                    #[serde(tag = "t")]
                    struct M {
                        a: u8,
                    }
                ),
                "`tag`",
            ),
            (
                parse_quote!(
                    enum M {
                        A(u8),
                        #[serde(untagged)]
                        B(u16),
                    }
                ),
                "`untagged`",
            ),
            (
                parse_quote!(
                    struct M {
                        #[serde(flatten)]
                        a: Other,
                    }
                ),
                "`flatten`",
            ),
            (
                parse_quote!(
                    enum M {
                        A {
                            #[serde(default, flatten)]
                            a: Other,
                        },
                    }
                ),
                "`flatten`",
            ),
            (
                parse_quote!(
                    struct M {
                        #[serde(skip_serializing_if = "Option::is_none")]
                        a: Option<u8>,
                    }
                ),
                "`skip_serializing_if`",
            ),
            (
                parse_quote!(
                    struct M {
                        #[serde(skip_serializing)]
                        a: u8,
                        b: u8,
                    }
                ),
                "one side only",
            ),
            (
                parse_quote!(
                    enum M {
                        A(#[serde(skip_deserializing)] u8, u8),
                    }
                ),
                "one side only",
            ),
            (
                parse_quote!(
                    enum M {
                        #[serde(skip)]
                        A,
                        B,
                    }
                ),
                "put it last",
            ),
            (
                parse_quote!(
                    enum M {
                        #[serde(skip_deserializing)]
                        A,
                        B,
                        #[serde(skip)]
                        C,
                    }
                ),
                "put it last",
            ),
        ] {
            let found = faults(input);
            assert!(found.len() == 1 && found[0].contains(named), "{named}: {found:?}");
        }
    }

    #[test]
    fn all_that_is_wrong_is_told_at_once() {
        let found = faults(parse_quote! {
            #[serde(untagged)]
            enum M { A { #[serde(flatten)] a: Other }, #[serde(skip)] B, C }
        });
        assert_eq!(found.len(), 3, "{found:?}");
    }

    #[test]
    fn what_does_no_harm_is_let_be() {
        for input in [
            parse_quote!(
                #[serde(rename_all = "snake_case", deny_unknown_fields)]
                struct M {
                    a: u8,
                }
            ),
            parse_quote!(
                #[serde(crate = "serde", bound(serialize = ""))]
                struct M {
                    a: u8,
                }
            ),
            parse_quote!(
                #[serde(transparent)]
                struct M {
                    #[serde(with = "hex")]
                    a: Vec<u8>,
                }
            ),
            parse_quote!(
                struct M {
                    #[serde(skip)]
                    a: u8,
                    #[serde(default, alias = "c")]
                    b: u8,
                }
            ),
            parse_quote!(
                struct M {
                    #[serde(skip_serializing, skip_deserializing)]
                    a: u8,
                }
            ),
            parse_quote!(
                enum M {
                    A,
                    #[serde(rename = "b")]
                    B,
                    #[serde(skip_serializing)]
                    C,
                    D,
                }
            ),
            parse_quote!(
                enum M {
                    A,
                    #[serde(skip)]
                    B,
                    #[serde(skip)]
                    C,
                }
            ),
            parse_quote!(
                #[serde(untagged, from = "Other", into = "Other")]
                enum M {
                    A,
                }
            ),
        ] {
            assert_eq!(faults(input), Vec::<String>::new());
        }
    }
}
